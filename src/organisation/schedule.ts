/**
 * Owns what is due and when: one row a kind, mirrored in memory. The object's one alarm is the earliest of them.
 * Pure bookkeeping: it neither runs what is due nor sets the alarm.
 */

/**
 * - `attempts`: an attempt may have lost its object, so the object must wake and close it.
 * - `denials`: refusals were counted instead of recorded, and the sum is to be written.
 * - `idempotency`: keys may have expired.
 * - `unsettled`: an unknown outcome is to be looked into.
 * - `storage`: the storage was nearly full a day ago.
 * - `directory`: the directory has not confirmed this organisation's latest state.
 * - `expiries`: a session or a token is about to expire.
 * - `deliveries`: a webhook's delivery is to be tried, or a dead one's payload dropped.
 * - `checkpoints`: a checkpoint is to leave the object.
 * - `retention`: the bytes of old records may be dropped.
 * - `alerts`: an alert is to be sent, or its quiet time is over.
 */
export type Due =
  | 'attempts'
  | 'denials'
  | 'idempotency'
  | 'unsettled'
  | 'storage'
  | 'directory'
  | 'expiries'
  | 'deliveries'
  | 'checkpoints'
  | 'retention'
  | 'alerts'

/** What waits for others outside, who may hang. */
const last: readonly Due[] = ['retention', 'checkpoints', 'alerts']

export class Schedule {
  readonly #due = new Map<Due, number>()

  load(rows: readonly { kind: string; at: number }[]): void {
    this.#due.clear()
    for (const { kind, at } of rows) this.#due.set(kind as Due, at)
  }

  at(kind: Due): number | undefined {
    return this.#due.get(kind)
  }

  set(kind: Due, at: number): void {
    this.#due.set(kind, at)
  }

  clear(kind: Due): void {
    this.#due.delete(kind)
  }

  /** The time of the earliest thing due, or undefined where nothing is. */
  get earliest(): number | undefined {
    return this.#due.size === 0 ? undefined : Math.min(...this.#due.values())
  }

  /** What is due at a time, the longest overdue first; what may hang comes last. */
  dueBy(nowMs: number): Due[] {
    return [...this.#due]
      .filter(([, at]) => at <= nowMs)
      .sort(([kind, a], [other, b]) => last.indexOf(kind) - last.indexOf(other) || a - b)
      .map(([kind]) => kind)
  }
}
