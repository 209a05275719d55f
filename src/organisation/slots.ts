/**
 * Owns the object's share of outgoing connections: a fixed number of slots, given to keys in turn, so that one
 * connection's crowd does not keep another's single request waiting. Pure bookkeeping without a clock.
 */
import type { Ticket } from './turns.ts'

export class Slots {
  #free: number
  readonly #total: number
  readonly #queues = new Map<string, (() => void)[]>()
  #waiting = 0

  /** `count` at a time; at most `total` wait. */
  constructor(count: number, total: number) {
    this.#free = count
    this.#total = total
  }

  /** A ticket, or undefined where too many wait already. */
  take(key: string): Ticket | undefined {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (this.#free > 0) {
      this.#free--
      resolve()
    } else {
      if (this.#waiting >= this.#total) return undefined
      const queue = this.#queues.get(key) ?? []
      queue.push(resolve)
      this.#queues.set(key, queue)
      this.#waiting++
    }
    let left = false
    return {
      ready: promise,
      leave: () => {
        if (left) return
        left = true
        if (!this.#remove(key, resolve)) this.#passOn()
      },
    }
  }

  #remove(key: string, who: () => void): boolean {
    const queue = this.#queues.get(key)
    const place = queue?.indexOf(who) ?? -1
    if (!queue || place < 0) return false
    queue.splice(place, 1)
    this.#waiting--
    if (queue.length === 0) this.#queues.delete(key)
    return true
  }

  #passOn(): void {
    // The first key's turn: taken out and, if more of it wait, put last.
    for (const [key, queue] of this.#queues) {
      const next = queue.shift()
      this.#queues.delete(key)
      if (queue.length > 0) this.#queues.set(key, queue)
      this.#waiting--
      next?.()
      return
    }
    this.#free++
  }
}
