/**
 * Owns whether anything may be added to an organisation's storage, and how full it may get: updates stop before reads do, and both before there is no room left for
 * the outcomes of what is under way and for revocations. Pure: the size comes in.
 */
import type { Refusal } from '../errors.ts'

/** Shares of the limit, in percent. */
const highAt = 80
const updatesEndAt = 90
const readsEndAt = 95

export class Capacity {
  readonly #limitBytes: number
  readonly #bytes: () => number
  readonly #shut: () => string | undefined

  /** `shut` says why nothing at all may be added, where that is so. */
  constructor(limitBytes: number, bytes: () => number, shut: () => string | undefined = () => undefined) {
    this.#limitBytes = limitBytes
    this.#bytes = bytes
    this.#shut = shut
  }

  get bytes(): number {
    return this.#bytes()
  }

  /** What a record says of it, where it is time to say so. */
  get high(): { bytes: number; limitBytes: number } | undefined {
    return this.#over(highAt) ? { bytes: this.bytes, limitBytes: this.#limitBytes } : undefined
  }

  /** Whether only outcomes and revocations have room left. */
  get full(): boolean {
    return this.#over(readsEndAt)
  }

  /** Why nothing may be added by such a request, if so. */
  objection(action: 'read' | 'update'): Refusal | undefined {
    const shut = this.#shut()
    if (shut !== undefined) return { code: 'audit-unavailable', detail: shut }
    return this.#over(action === 'update' ? updatesEndAt : readsEndAt)
      ? { code: 'audit-unavailable', detail: 'The storage of this organisation is full.' }
      : undefined
  }

  #over(percent: number): boolean {
    return this.bytes * 100 >= this.#limitBytes * percent
  }
}
