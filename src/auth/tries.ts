/**
 * Owns how many wrong secrets an address may present to the console: ten a minute, in one isolate's memory; past that its
 * tries are not looked at. Bounded, and pure: the time comes in. Never lets anyone in.
 */
import { remember } from './throttle.ts'

const perMinute = 10
const minuteMs = 60_000

export class Tries {
  readonly #byAddress = new Map<string, { count: number; endsAt: number }>()

  /** Seconds until the address may try again, or undefined where it may now. */
  waitSeconds(address: string, nowMs: number): number | undefined {
    const tries = this.#byAddress.get(address)
    if (!tries || nowMs >= tries.endsAt || tries.count < perMinute) return undefined
    return Math.ceil((tries.endsAt - nowMs) / 1000)
  }

  /** A wrong secret came from this address. */
  count(address: string, nowMs: number): void {
    const before = this.#byAddress.get(address)
    const running = before && nowMs < before.endsAt ? before : { count: 0, endsAt: nowMs + minuteMs }
    remember(this.#byAddress, address, { ...running, count: running.count + 1 })
  }
}
