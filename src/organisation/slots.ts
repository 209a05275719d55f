/**
 * Owns the object's share of outgoing connections: a fixed number of slots, given to callers in turn and, of one caller, to
 * its connections in turn, so that nobody's crowd keeps another's single request waiting. Pure bookkeeping without a clock.
 */
import { type Ticket, tooMany, type Waiter } from './turns.ts'

interface Place extends Waiter {
  key: string
  state: 'waits' | 'holds' | 'left'
}

export class Slots {
  #free: number
  readonly #total: number
  /** Who waits, by owner and key; whose turn is next stands first. */
  readonly #owners = new Map<string, Map<string, Place[]>>()
  #waiting = 0

  /** `count` at a time; at most `total` wait. */
  constructor(count: number, total: number) {
    this.#free = count
    this.#total = total
  }

  /** Whether anyone waits for a slot. */
  get crowded(): boolean {
    return this.#waiting > 0
  }

  /** A ticket, or undefined where too many wait already. */
  take(key: string, owner = ''): Ticket | undefined {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const place: Place = { owner, key, resolve, state: 'waits' }
    if (this.#free > 0) {
      this.#free--
      this.#grant(place)
    } else {
      if (this.#waiting >= this.#total && !this.#drop(owner)) return undefined
      this.#waiting++
      const keys = this.#owners.get(owner) ?? new Map<string, Place[]>()
      keys.set(key, [...(keys.get(key) ?? []), place])
      this.#owners.set(owner, keys)
    }
    return { ready: promise, leave: () => this.#leave(place) }
  }

  #grant(place: Place): void {
    place.state = 'holds'
    place.resolve(true)
  }

  #leave(place: Place): void {
    const { state } = place
    if (state === 'waits') this.#remove(place)
    place.state = 'left'
    if (state === 'holds') this.#passOn()
  }

  /** Makes room for an owner at the cost of one who has more waiting; false where nobody has. */
  #drop(owner: string): boolean {
    const waiting = [...this.#owners.values()].flatMap(keys => [...keys.values()].flat())
    const dropped = tooMany(waiting, owner, each => each.owner)
    if (!dropped) return false
    this.#leave(dropped)
    dropped.resolve(false)
    return true
  }

  #remove(place: Place): void {
    const keys = this.#owners.get(place.owner) as Map<string, Place[]>
    const rest = (keys.get(place.key) as Place[]).filter(each => each !== place)
    if (rest.length > 0) keys.set(place.key, rest)
    else keys.delete(place.key)
    if (keys.size === 0) this.#owners.delete(place.owner)
    this.#waiting--
  }

  /** To the first owner's first key; both stand last afterwards, if more of them wait. */
  #passOn(): void {
    const [owner, keys] = first(this.#owners) ?? []
    if (owner === undefined || !keys) {
      this.#free++
      return
    }
    const [key, queue] = first(keys) as [string, Place[]]
    const [next, ...rest] = queue as [Place, ...Place[]]
    keys.delete(key)
    if (rest.length > 0) keys.set(key, rest)
    this.#owners.delete(owner)
    if (keys.size > 0) this.#owners.set(owner, keys)
    this.#waiting--
    this.#grant(next)
  }
}

function first<K, V>(map: Map<K, V>): [K, V] | undefined {
  return map.entries().next().value
}
