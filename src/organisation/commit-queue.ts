/**
 * Owns how writes become durable: what concurrent requests queue is committed in one transaction and awaited once.
 * Never reorders, and never lets a part of a batch stand: all of it is durable, or none of it and every waiter knows.
 */

/** The part of a Durable Object's storage that is needed. */
export interface Storage {
  transactionSync<T>(closure: () => T): T
  sync(): Promise<void>
}

/** What says whether anything may be written at all. */
export interface Gate {
  readonly open: boolean
  /** Resolves once it is open; throws where it stays shut. */
  confirm(): Promise<void>
}

/** The batch that a write was in is not durable. */
export class CommitError extends Error {}

interface Batch {
  writes: (() => void)[]
  done: Promise<void>
  resolve: () => void
  reject: (error: CommitError) => void
}

export class CommitQueue {
  readonly #storage: Storage
  readonly #defer: (run: () => void) => void
  readonly #onFailure: () => void
  readonly #gate: Gate
  #batch: Batch | undefined
  #last: Promise<void> = Promise.resolve()

  /**
   * `defer` runs a function on a later turn of the event loop: late enough for concurrent requests to join, and later
   * only where that holds nobody up. `onFailure` must read every cache anew: what it holds may be ahead of the storage.
   * While the gate is shut, no batch is written.
   */
  constructor(
    storage: Storage,
    defer: (run: () => void) => void,
    onFailure: () => void,
    gate: Gate = { open: true, confirm: async () => {} },
  ) {
    this.#storage = storage
    this.#defer = defer
    this.#onFailure = onFailure
    this.#gate = gate
  }

  /** Queues a write. It is durable once a `committed()` that was asked for afterwards has resolved. */
  add(write: () => void): void {
    if (!this.#batch) {
      this.#batch = newBatch()
      this.#last = this.#batch.done
      this.#defer(() => void this.#flush())
    }
    this.#batch.writes.push(write)
  }

  /** Whether a write is queued that no transaction has taken yet. */
  get busy(): boolean {
    return this.#batch !== undefined
  }

  /** Whether anything may be written, as far as is known. */
  get open(): boolean {
    return this.#gate.open
  }

  /** Resolves when all that was queued so far is on disk; throws CommitError where it will never be. */
  committed(): Promise<void> {
    return this.#last
  }

  async #flush(): Promise<void> {
    let shut: unknown
    if (!this.#gate.open) await this.#gate.confirm().catch(error => (shut = error ?? true))
    // Taken only now: what is queued meanwhile builds upon this, and must share its fate.
    const batch = this.#batch as Batch
    this.#batch = undefined
    try {
      if (shut) throw shut
      // transactionSync: a plain run of statements would keep its first half when a later one throws.
      this.#storage.transactionSync(() => {
        for (const write of batch.writes) write()
      })
      await this.#storage.sync()
      batch.resolve()
    } catch (error) {
      batch.reject(new CommitError('a batch of writes was not committed', { cause: error }))
      // Who comes later and has nothing in that batch lost nothing with it.
      if (this.#last === batch.done) this.#last = Promise.resolve()
      this.#onFailure()
    }
  }
}

function newBatch(): Batch {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  // A batch that nobody waits for must not become an unhandled rejection; who waits is still told.
  promise.catch(() => {})
  return { writes: [], done: promise, resolve, reject }
}
