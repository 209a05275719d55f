/**
 * Owns who goes next: one writer at a time per connection, in the order of asking. Pure bookkeeping without a clock:
 * who waits too long leaves by itself.
 */

/** A place in a queue. `ready` resolves when its turn has come; `leave` gives it back, from the queue or from the front. */
export interface Ticket {
  ready: Promise<void>
  leave(): void
}

export class Turns {
  readonly #perKey: number
  readonly #total: number
  readonly #queues = new Map<string, (() => void)[]>()
  #waiting = 0

  /** At most `perKey` wait for one key and `total` for all of them; who holds a turn does not wait. */
  constructor(perKey: number, total: number) {
    this.#perKey = perKey
    this.#total = total
  }

  /** A ticket, or undefined where too many wait already. */
  take(key: string): Ticket | undefined {
    const { promise, resolve } = Promise.withResolvers<void>()
    const queue = this.#queues.get(key)
    if (!queue) {
      this.#queues.set(key, [resolve])
      resolve()
    } else {
      if (queue.length > this.#perKey || this.#waiting >= this.#total) return undefined
      queue.push(resolve)
      this.#waiting++
    }
    return { ready: promise, leave: () => this.#leave(key, resolve) }
  }

  #leave(key: string, who: () => void): void {
    const queue = this.#queues.get(key)
    const place = queue?.indexOf(who) ?? -1
    if (!queue || place < 0) return
    queue.splice(place, 1)
    if (queue.length === 0) this.#queues.delete(key)
    // The front does not wait: whether it left or someone behind it did, one fewer waits, unless it was alone.
    if (place > 0 || queue.length > 0) this.#waiting--
    if (place === 0) queue[0]?.()
  }
}
