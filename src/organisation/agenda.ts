/**
 * Owns the object's only scheduler: what is due is a row and the alarm is the earliest row, written in one transaction.
 * Never runs what is due: the object does.
 */
import type { CommitQueue } from './commit-queue.ts'
import { type Due, Schedule } from './schedule.ts'
import type { Tables } from './tables.ts'

export class Agenda {
  readonly #tables: Tables
  readonly #queue: CommitQueue
  readonly #storeAlarm: (at: number) => void
  readonly #schedule = new Schedule()
  #alarmAt: number | undefined

  /** `storeAlarm` must write the alarm as a part of the transaction around it. */
  constructor(tables: Tables, queue: CommitQueue, storeAlarm: (at: number) => void) {
    this.#tables = tables
    this.#queue = queue
    this.#storeAlarm = storeAlarm
  }

  load(): void {
    this.#schedule.load(this.#tables.due())
    this.#alarmAt = undefined
  }

  has(kind: Due): boolean {
    return this.#schedule.at(kind) !== undefined
  }

  /** Makes a kind due at `at` or, where it is due earlier already, leaves it. */
  noLaterThan(kind: Due, at: number): void {
    const current = this.#schedule.at(kind)
    if (current === undefined || current > at) this.set(kind, at)
  }

  set(kind: Due, at: number): void {
    this.#schedule.set(kind, at)
    this.#queue.add(() => {
      this.#tables.putDue(kind, at)
      this.arm()
    })
  }

  done(kind: Due): void {
    if (this.#schedule.at(kind) === undefined) return
    this.#schedule.clear(kind)
    this.#queue.add(() => this.#tables.deleteDue(kind))
  }

  /** The alarm has fired: it is no more, and the runtime does not set it again. */
  fired(nowMs: number): Due[] {
    this.#alarmAt = undefined
    return this.#schedule.dueBy(nowMs)
  }

  /** Sets the alarm to the earliest thing due, where it is not set to that already. */
  arm(): void {
    const at = this.#schedule.earliest
    if (at === undefined || at === this.#alarmAt) return
    this.#alarmAt = at
    // The runtime may take 0 for no alarm: one in a transaction never fired (seen).
    this.#storeAlarm(Math.max(1, at))
  }
}
