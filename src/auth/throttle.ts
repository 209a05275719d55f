/**
 * Owns what an edge isolate remembers of credentials, so that forged ones stop costing object calls: which never
 * existed, which were let in, and which addresses had too many refused. Bounded, and pure: the time comes in. Never lets
 * anyone in: a credential that passes here is still checked by the organisation's object.
 */

const rememberedMs = 60_000
const maxRemembered = 10_000
/** For how many organisations a blocked address may have looked up whether an id exists: at once, and one more a second. */
const lookUps = 10
const lookUpEveryMs = 1_000

/** What to do with a credential: `doubtful` ones are asked about only where their id exists. */
export type Passage = 'ask' | 'never-existed' | 'doubtful' | 'refused-before'

export class Throttle {
  /** By credential: until when it is known to be refused. */
  readonly #refused = new Map<string, { until: number; existed: boolean }>()
  readonly #accepted = new Map<string, true>()
  readonly #blocked = new Map<string, { until: number; lookUps: number; countedAt: number }>()

  /**
   * A credential that never existed is refused for a minute without a call. From a blocked address, those that were let in
   * before go on, those that were refused before do not, and all others are doubtful.
   */
  passage(credential: string, address: string, nowMs: number): Passage {
    const refused = this.#refused.get(credential)
    const known = refused !== undefined && nowMs < refused.until
    if (known && !refused.existed) return 'never-existed'
    if (!this.isBlocked(address, nowMs) || this.#accepted.has(credential)) return 'ask'
    // No secret that was refused ever becomes right again.
    return known ? 'refused-before' : 'doubtful'
  }

  /** Whether a blocked address may have an organisation asked which ids exist; counts it. */
  mayLookUp(address: string, nowMs: number): boolean {
    const blocked = this.#blocked.get(address)
    if (!blocked) return true
    const regained = Math.floor((nowMs - blocked.countedAt) / lookUpEveryMs)
    blocked.lookUps = Math.min(lookUps, blocked.lookUps + regained)
    blocked.countedAt += regained * lookUpEveryMs
    if (blocked.lookUps === 0) return false
    blocked.lookUps--
    return true
  }

  /** A credential was let in, or was just made here. */
  accept(credential: string): void {
    remember(this.#accepted, credential, true)
  }

  /** A credential was refused; `existed` where its id is a token's. */
  refuse(credential: string, existed: boolean, nowMs: number): void {
    this.#accepted.delete(credential)
    remember(this.#refused, credential, { until: nowMs + rememberedMs, existed })
  }

  /** An address had too many credentials refused. */
  block(address: string, nowMs: number): void {
    const before = this.#blocked.get(address) ?? { lookUps, countedAt: nowMs }
    remember(this.#blocked, address, { ...before, until: nowMs + rememberedMs })
  }

  /** Whether an address is blocked. */
  isBlocked(address: string, nowMs: number): boolean {
    return nowMs < (this.#blocked.get(address)?.until ?? 0)
  }
}

/** The newest last; the oldest goes where there are too many. */
export function remember<T>(map: Map<string, T>, key: string, value: T, limit = maxRemembered): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > limit) map.delete(map.keys().next().value as string)
}

/**
 * What an address is counted as: an IPv6 address as its /64, which is one customer's (RFC 6177), as they could otherwise
 * come from another one each time.
 */
export function addressKey(ip: string): string {
  if (!ip.includes(':') || ip.includes('.')) return ip
  const [head = '', tail = ''] = ip.split('::')
  const before = head.split(':').filter(Boolean)
  const after = tail.split(':').filter(Boolean)
  const zeros = ip.includes('::') ? Array(Math.max(0, 8 - before.length - after.length)).fill('0') : []
  return [...before, ...zeros, ...after].slice(0, 4).join(':')
}
