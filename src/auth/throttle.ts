/**
 * Owns what an edge isolate remembers of credentials, so that forged ones stop costing object calls: which never
 * existed, which were let in, and which addresses had too many refused. Bounded, and pure: the time comes in. Never lets
 * anyone in: a credential that passes here is still checked by the organisation's object.
 */

const rememberedMs = 60_000
const maxRemembered = 10_000
/** What a blocked address may still try: so many credentials at once, one more a second. */
const tries = 10
const tryEveryMs = 1_000

/** What to do with a credential before any object is asked. */
export type Passage = { kind: 'ask' } | { kind: 'never-existed' } | { kind: 'wait'; seconds: number }

export class Throttle {
  /** By credential: until when it is known to be refused. */
  readonly #refused = new Map<string, { until: number; existed: boolean }>()
  readonly #accepted = new Map<string, true>()
  readonly #blocked = new Map<string, { until: number; tries: number; countedAt: number }>()

  /**
   * A credential that never existed is refused for a minute without a call. From a blocked address, those that were let in
   * before go on; of the others only a few are asked about, so that a rightful holder behind the same address gets in.
   */
  passage(credential: string, address: string, nowMs: number): Passage {
    const refused = this.#refused.get(credential)
    const known = refused !== undefined && nowMs < refused.until
    if (known && !refused.existed) return { kind: 'never-existed' }
    const blocked = this.#blocked.get(address)
    if (!blocked || nowMs >= blocked.until || this.#accepted.has(credential)) return { kind: 'ask' }
    const regained = Math.floor((nowMs - blocked.countedAt) / tryEveryMs)
    blocked.tries = Math.min(tries, blocked.tries + regained)
    blocked.countedAt += regained * tryEveryMs
    if (known || blocked.tries === 0) {
      return { kind: 'wait', seconds: known ? Math.ceil((blocked.until - nowMs) / 1000) : 1 }
    }
    blocked.tries--
    return { kind: 'ask' }
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
    const { tries: left, countedAt } = this.#blocked.get(address) ?? { tries, countedAt: nowMs }
    remember(this.#blocked, address, { until: nowMs + rememberedMs, tries: left, countedAt })
  }

  /** Whether an address is blocked. */
  isBlocked(address: string, nowMs: number): boolean {
    return nowMs < (this.#blocked.get(address)?.until ?? 0)
  }
}

/** The newest last; the oldest goes where there are too many. */
function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > maxRemembered) map.delete(map.keys().next().value as string)
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
