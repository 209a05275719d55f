/**
 * Owns who goes next: one writer at a time per connection, callers in turn and each caller's in the order of asking, so that
 * nobody's crowd keeps another's single request waiting. Pure bookkeeping without a clock: who waits too long leaves by itself.
 */

/** A place in a queue; `leave` gives it back, from the queue or from the front. */
export interface Ticket {
  /** Resolves when its turn has come, or with false where it lost its place to a caller who has fewer waiting. */
  ready: Promise<boolean>
  leave(): void
}

/** Who waits, and for whom. */
export interface Waiter {
  owner: string
  resolve: (granted: boolean) => void
}

export class Turns {
  readonly #perKey: number
  readonly #total: number
  /** Who stands where; the first holds the turn. */
  readonly #queues = new Map<string, Waiter[]>()
  /** By key, the owners who had a turn while it was asked for, the last of them last. */
  readonly #served = new Map<string, string[]>()
  #waiting = 0

  /** At most `perKey` wait for one key and `total` for all of them; who holds a turn does not wait. */
  constructor(perKey: number, total: number) {
    this.#perKey = perKey
    this.#total = total
  }

  /** A ticket, or undefined where too many wait already. */
  take(key: string, owner = ''): Ticket | undefined {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const waiter: Waiter = { owner, resolve }
    const queue = this.#queues.get(key)
    if (!queue) {
      this.#queues.set(key, [waiter])
      this.#served.set(key, [owner])
      resolve(true)
    } else {
      if (queue.length > this.#perKey && !this.#drop([[key, queue]], owner)) return undefined
      if (this.#waiting >= this.#total && !this.#drop(this.#queues, owner)) return undefined
      queue.push(waiter)
      this.#waiting++
    }
    return { ready: promise, leave: () => this.#leave(key, waiter) }
  }

  /** Makes room for an owner at the cost of one who has more waiting there; false where nobody has. */
  #drop(queues: Iterable<[string, Waiter[]]>, owner: string): boolean {
    const waiting = [...queues].flatMap(([key, queue]) => queue.slice(1).map(waiter => ({ key, waiter })))
    const dropped = tooMany(waiting, owner, ({ waiter }) => waiter.owner)
    if (!dropped) return false
    this.#leave(dropped.key, dropped.waiter)
    dropped.waiter.resolve(false)
    return true
  }

  #leave(key: string, who: Waiter): void {
    const queue = this.#queues.get(key)
    const place = queue?.indexOf(who) ?? -1
    if (!queue || place < 0) return
    queue.splice(place, 1)
    if (queue.length === 0) {
      this.#queues.delete(key)
      this.#served.delete(key)
    }
    // The front does not wait: whether it left or someone behind it did, one fewer waits, unless it was alone.
    if (place > 0 || queue.length > 0) this.#waiting--
    if (place === 0 && queue.length > 0) this.#passOn(key, queue)
  }

  /** To the first in the queue of the owner whose last turn is longest ago. */
  #passOn(key: string, queue: Waiter[]): void {
    const served = this.#served.get(key) ?? []
    const next = queue.reduce((first, each) =>
      served.lastIndexOf(each.owner) < served.lastIndexOf(first.owner) ? each : first,
    )
    queue.splice(queue.indexOf(next), 1)
    queue.unshift(next)
    const waiting = served.filter(owner => owner !== next.owner && queue.some(each => each.owner === owner))
    this.#served.set(key, [...waiting, next.owner])
    next.resolve(true)
  }
}

/**
 * Whom to drop where a queue is full, so that one who asks little is never refused for one who asks much: the last of the
 * owner with the most, if `owner` would still have fewer with one more.
 */
export function tooMany<T>(waiting: readonly T[], owner: string, ownerOf: (of: T) => string): T | undefined {
  const counts = new Map<string, number>()
  for (const each of waiting) counts.set(ownerOf(each), (counts.get(ownerOf(each)) ?? 0) + 1)
  const [most, count] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0])
  return count > (counts.get(owner) ?? 0) + 1 ? waiting.findLast(each => ownerOf(each) === most) : undefined
}
