/** Checks that turns go one at a time per key and in the order of asking, whoever leaves and when, against a model. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Ticket, Turns, tooMany } from '../../src/organisation/turns.ts'

/** Takes tickets and notes whose turn it is. */
class Watch {
  readonly granted: number[] = []
  readonly #tickets: (Ticket | undefined)[] = []

  /** Resolves with the ticket's number, or undefined where it was refused; by then, who is granted is known. */
  async take(turns: Turns, key: string): Promise<number | undefined> {
    const number = this.#tickets.length
    const ticket = turns.take(key)
    this.#tickets.push(ticket)
    ticket?.ready.then(() => this.granted.push(number))
    await Promise.resolve()
    return ticket && number
  }

  async leave(number: number): Promise<void> {
    this.#tickets[number]?.leave()
    await Promise.resolve()
  }
}

const perKey = 3
const total = 5
const steps = fc.array(
  fc.oneof(
    fc.record({ take: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ leave: fc.nat(30) }),
    fc.record({ leave: fc.nat(5) }),
  ),
  { maxLength: 60, size: 'max' },
)

test('whatever the order of asking and leaving, each turn has one holder and nobody is lost', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async list => {
      const turns = new Turns(perKey, total)
      const watch = new Watch()
      /** Who stands in each queue; the first holds the turn. */
      const queues = new Map<string, number[]>(['a', 'b', 'c', 'd'].map(key => [key, []]))
      const everGranted: number[] = []
      const holders = () => [...queues.values()].flatMap(queue => queue.slice(0, 1))
      const waiting = () =>
        [...queues.values()].reduce((sum, queue) => sum + Math.max(0, queue.length - 1), 0)
      for (const step of list) {
        if ('take' in step) {
          const queue = queues.get(step.take) as number[]
          const full = queue.length > 0 && (queue.length - 1 >= perKey || waiting() >= total)
          const number = await watch.take(turns, step.take)
          expect(number === undefined).toBe(full)
          if (number !== undefined) queue.push(number)
        } else {
          await watch.leave(step.leave)
          for (const [key, queue] of queues) {
            queues.set(
              key,
              queue.filter(number => number !== step.leave),
            )
          }
        }
        // Each is granted at the moment it comes to the front, and never again.
        everGranted.push(...holders().filter(number => !everGranted.includes(number)))
        expect(watch.granted).toEqual(everGranted)
      }
      // When all have left, nothing is held and nobody is counted.
      for (const number of list.keys()) await watch.leave(number)
      for (const key of ['a', 'b', 'c', 'd']) expect(await watch.take(turns, key)).toBe(watch.granted.at(-1))
      const room = await Promise.all(Array.from('aaabbcd', key => watch.take(turns, key)))
      expect(room.filter(number => number !== undefined).length).toBe(total)
    }),
    { numRuns: 300 },
  )
})

test('who waits for one key does not wait for another', async () => {
  const turns = new Turns(1, 10)
  const watch = new Watch()
  const numbers = [await watch.take(turns, 'a'), await watch.take(turns, 'a'), await watch.take(turns, 'b')]
  expect(numbers).toEqual([0, 1, 2])
  expect(watch.granted).toEqual([0, 2])
})

test.each([
  ['one key', 2, 10, 'aaaaa', [0, 1, 2, undefined, undefined]],
  ['one key at its limit, another free', 1, 10, 'aaab', [0, 1, undefined, 3]],
  ['all keys', 10, 2, 'aabbcc', [0, 1, 2, 3, 4, undefined]],
  ['nobody may wait', 0, 10, 'aab', [0, undefined, 2]],
  ['nobody may wait anywhere', 10, 0, 'aab', [0, undefined, 2]],
])('the limit of %s', async (_, ofKey, ofAll, keys, expected) => {
  const turns = new Turns(ofKey, ofAll)
  const watch = new Watch()
  const numbers: (number | undefined)[] = []
  for (const key of keys) numbers.push(await watch.take(turns, key))
  expect(numbers).toEqual(expected)
})

test('a ticket that was given back twice counts once', async () => {
  const turns = new Turns(5, 5)
  const watch = new Watch()
  for (const key of 'aaaa') await watch.take(turns, key)
  await watch.leave(0)
  await watch.leave(0)
  await watch.leave(2)
  await watch.leave(2)
  expect(watch.granted).toEqual([0, 1])
  await watch.leave(1)
  expect(watch.granted).toEqual([0, 1, 3])
})

test.each([
  ['one key', 3, 100],
  ['all keys', 100, 3],
])('a full queue of %s makes room for who has fewer waiting', async (_, perKey, total) => {
  const turns = new Turns(perKey, total)
  const tickets = Array.from({ length: 4 }, () => turns.take('k', 'noisy'))
  expect(turns.take('k', 'noisy')).toBeUndefined()
  const quiet = turns.take('k', 'quiet')
  expect(await tickets[3]?.ready).toBe(false)
  expect(turns.take('k', 'quiet')).toBeUndefined()
  tickets[3]?.leave()
  for (const ticket of [tickets[0], quiet, tickets[1], tickets[2]]) {
    expect(await ticket?.ready).toBe(true)
    ticket?.leave()
  }
})

test.each([
  ['nobody waits', '', 'a', undefined],
  ['only its own', 'aaa', 'a', undefined],
  ['one has as many as it would have', 'aab', 'b', undefined],
  ['one has more', 'aaab', 'b', 2],
  ['the last of who has most', 'abbcbc', 'd', 4],
])('whom to drop where %s', (_, waiting, owner, at) => {
  const list = [...waiting].map((each, i) => ({ each, i }))
  expect(tooMany(list, owner, ({ each }) => each)?.i).toBe(at)
})

test('owners go in turn, each of theirs in the order of asking', async () => {
  const turns = new Turns(32, 256)
  const order: string[] = []
  const tickets = ['noisy 1', 'noisy 2', 'noisy 3', 'quiet 1', 'noisy 4', 'quiet 2', 'other 1'].map(name => {
    const ticket = turns.take('a', name.split(' ')[0]) as Ticket
    ticket.ready.then(() => order.push(name))
    return { name, ticket }
  })
  for (let i = 0; i < tickets.length; i++) {
    await Promise.resolve()
    tickets.find(({ name }) => name === order.at(-1))?.ticket.leave()
  }
  expect(order).toEqual(['noisy 1', 'quiet 1', 'other 1', 'noisy 2', 'quiet 2', 'noisy 3', 'noisy 4'])
})
