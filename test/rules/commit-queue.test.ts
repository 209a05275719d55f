/** Checks that what is queued becomes durable together or not at all, and that everyone who waits is told which. */
import { expect, test } from 'vitest'
import { CommitError, CommitQueue, type Gate, type Storage } from '../../src/organisation/commit-queue.ts'

/** A storage kept in arrays: `disk` holds what a sync has confirmed. */
class Disk implements Storage {
  disk: string[] = []
  transactions: string[][] = []
  #open: string[] | undefined
  #written: string[] = []

  transactionSync<T>(closure: () => T): T {
    this.#open = []
    const value = closure()
    this.#written.push(...this.#open)
    this.transactions.push(this.#open)
    return value
  }

  write(text: string): void {
    this.#open?.push(text)
  }

  async sync(): Promise<void> {
    this.disk = [...this.#written]
  }
}

/** A queue, its storage, and the turns of the event loop that it asked for, run by hand. */
function setUp(gate?: Gate) {
  const disk = new Disk()
  const deferred: (() => void)[] = []
  const story: string[] = []
  const queue = new CommitQueue(
    disk,
    run => deferred.push(run),
    () => story.push('read anew'),
    gate,
  )
  return {
    disk,
    queue,
    story,
    add: (text: string) => queue.add(() => disk.write(text)),
    /** Waits, and tells of it in the story. */
    wait: (name: string) =>
      queue.committed().then(
        () => story.push(`${name}: ${disk.disk.join(' ')}`),
        error => story.push(`${name}: ${error instanceof CommitError ? 'lost' : error}`),
      ),
    deferred,
    /** Runs the next turn that was asked for. */
    turn: () => deferred.shift()?.(),
  }
}

const broken = () => {
  throw new Error('no such column')
}

test('where nothing is queued there is nothing to wait for', async () => {
  const { queue, deferred } = setUp()
  await expect(queue.committed()).resolves.toBeUndefined()
  expect(queue.busy).toBe(false)
  expect(deferred).toEqual([])
})

test('all that is queued before the turn goes into one transaction, in order', async () => {
  const { add, wait, turn, disk, story, deferred, queue } = setUp()
  add('a')
  const waiting = [wait('first')]
  add('b')
  add('c')
  waiting.push(wait('second'), wait('third'))
  expect(deferred.length).toBe(1)
  expect(disk.transactions).toEqual([])
  expect(queue.busy).toBe(true)
  turn()
  expect(queue.busy).toBe(false)
  await Promise.all(waiting)
  expect(disk.transactions).toEqual([['a', 'b', 'c']])
  expect(story).toEqual(['first: a b c', 'second: a b c', 'third: a b c'])
})

test('nobody goes on before the disk has confirmed', async () => {
  const { add, wait, turn, disk, story } = setUp()
  const confirmed = Promise.withResolvers<void>()
  disk.sync = () => confirmed.promise
  add('a')
  const waiting = wait('first')
  turn()
  await Promise.resolve()
  expect(disk.transactions).toEqual([['a']])
  expect(story).toEqual([])
  confirmed.resolve()
  await waiting
  expect(story).toEqual(['first: '])
})

test('what is queued while a batch is on its way is the next batch', async () => {
  const { add, wait, turn, disk, deferred } = setUp()
  add('a')
  const first = wait('first')
  turn()
  add('b')
  const second = wait('second')
  expect(deferred.length).toBe(1)
  turn()
  await Promise.all([first, second])
  expect(disk.transactions).toEqual([['a'], ['b']])
})

test('a write that throws takes its whole batch with it, and caches are read anew before anyone goes on', async () => {
  const { add, wait, turn, disk, story, queue } = setUp()
  add('a')
  const waiting = [wait('first')]
  queue.add(broken)
  add('b')
  waiting.push(wait('second'))
  turn()
  await Promise.all(waiting)
  expect(disk.transactions).toEqual([])
  expect(disk.disk).toEqual([])
  expect(story).toEqual(['read anew', 'first: lost', 'second: lost'])
})

test('a disk that does not confirm fails its batch too', async () => {
  const { add, wait, turn, disk, story } = setUp()
  disk.sync = () => Promise.reject(new Error('the disk is gone'))
  add('a')
  const waiting = wait('first')
  turn()
  await waiting
  expect(story).toEqual(['read anew', 'first: lost'])
})

test('later batches go on after one that failed', async () => {
  const { add, wait, turn, disk, story, queue } = setUp()
  queue.add(broken)
  const failed = wait('first')
  turn()
  await failed
  add('b')
  const next = wait('second')
  turn()
  await next
  expect(disk.disk).toEqual(['b'])
  expect(story).toEqual(['read anew', 'first: lost', 'second: b'])
})

test('a batch that fails while nobody waits disturbs nobody', async () => {
  const { queue, turn, story, add, wait } = setUp()
  queue.add(broken)
  turn()
  add('b')
  const next = wait('second')
  turn()
  await next
  expect(story).toEqual(['read anew', 'second: b'])
})

test('while the gate is shut nothing is written; batches wait, and are written in their order however it opens', async () => {
  let open = false
  const opened = Promise.withResolvers<void>()
  const gate = {
    get open() {
      return open
    },
    confirm: () => opened.promise,
  }
  const { add, wait, turn, disk, story } = setUp(gate)
  add('a')
  wait('first')
  turn()
  add('b')
  wait('second')
  turn()
  await Promise.resolve()
  expect(disk.transactions).toEqual([])
  // The third comes while the gate is open already and those before it have not gone through.
  open = true
  add('c')
  const third = wait('third')
  turn()
  opened.resolve()
  await third
  expect(disk.transactions).toEqual([['a'], ['b'], ['c']])
  expect(story.map(line => line.slice(0, 5))).toEqual(['first', 'secon', 'third'])
})

test('where the gate stays shut, every batch is lost and everything is read anew; the next one asks again', async () => {
  let shut = true
  const gate = {
    get open() {
      return !shut
    },
    confirm: async () => {
      if (shut) throw new Error('shut')
    },
  }
  const { add, wait, turn, disk, story } = setUp(gate)
  add('a')
  const first = wait('first')
  turn()
  add('b')
  const second = wait('second')
  turn()
  await Promise.all([first, second])
  expect(disk.transactions).toEqual([])
  expect(story.filter(line => line === 'read anew')).toHaveLength(2)
  expect(story).toContain('second: lost')
  shut = false
  add('c')
  const last = wait('third')
  turn()
  await last
  expect(disk.disk).toEqual(['c'])
})
