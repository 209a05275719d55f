/** Checks that slots are never more than there are, go round between keys, and are neither lost nor doubled. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Slots } from '../../src/organisation/slots.ts'
import type { Ticket } from '../../src/organisation/turns.ts'

/** Takes tickets and notes who has been given a slot, in the order of giving. */
class Watch {
  readonly granted: number[] = []
  readonly #tickets: (Ticket | undefined)[] = []

  async take(slots: Slots, key: string): Promise<number | undefined> {
    const number = this.#tickets.length
    const ticket = slots.take(key)
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

const count = 3
const total = 6
const steps = fc.array(
  fc.oneof(
    fc.record({ take: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ leave: fc.nat(30) }),
    fc.record({ leave: fc.nat(5) }),
  ),
  { maxLength: 60, size: 'max' },
)

test('whatever the order of asking and leaving, all slots are in use or nobody waits', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async list => {
      const slots = new Slots(count, total)
      const watch = new Watch()
      const holding = new Set<number>()
      /** Who waits, by key; the key that is next stands first. */
      let ring: { key: string; numbers: number[] }[] = []
      const granted: number[] = []
      const give = (number: number) => {
        holding.add(number)
        granted.push(number)
      }
      for (const step of list) {
        if ('take' in step) {
          const waiting = ring.reduce((sum, { numbers }) => sum + numbers.length, 0)
          const number = await watch.take(slots, step.take)
          expect(number === undefined).toBe(holding.size === count && waiting >= total)
          if (number !== undefined && holding.size < count) give(number)
          else if (number !== undefined) {
            const place = ring.find(({ key }) => key === step.take)
            if (place) place.numbers.push(number)
            else ring.push({ key: step.take, numbers: [number] })
          }
        } else {
          await watch.leave(step.leave)
          for (const place of ring) place.numbers = place.numbers.filter(number => number !== step.leave)
          ring = ring.filter(({ numbers }) => numbers.length > 0)
          const next = holding.delete(step.leave) ? ring.shift() : undefined
          if (next) {
            give(next.numbers.shift() as number)
            if (next.numbers.length > 0) ring.push(next)
          }
        }
        expect(watch.granted).toEqual(granted)
        expect(holding.size).toBeLessThanOrEqual(count)
        expect(holding.size === count || ring.length === 0).toBe(true)
      }
      // When all have left, every slot and every place to wait is there again.
      for (const number of list.keys()) await watch.leave(number)
      const before = watch.granted.length
      const room = await Promise.all(Array.from('aaaaabbbbb', key => watch.take(slots, key)))
      expect(room.filter(number => number !== undefined).length).toBe(count + total)
      expect(watch.granted.length - before).toBe(count)
    }),
    { numRuns: 300 },
  )
})

test.each([
  ['one key alone goes in the order of asking', 'aaaa', [0, 1, 2, 3]],
  ['a single request does not wait behind a crowd', 'aaaab', [0, 1, 4, 2, 3]],
  ['keys go round', 'aaabbbc', [0, 1, 3, 6, 2, 4, 5]],
])('%s', async (_, keys, order) => {
  const slots = new Slots(1, 10)
  const watch = new Watch()
  for (const key of keys) await watch.take(slots, key)
  for (const number of order) await watch.leave(number)
  expect(watch.granted).toEqual(order)
})

test.each([
  ['places to wait run out', 2, 1, 'abcd', [0, 1, 2, undefined]],
  ['nobody may wait', 2, 0, 'abc', [0, 1, undefined]],
])('%s', async (_, slotCount, waiting, keys, expected) => {
  const slots = new Slots(slotCount, waiting)
  const watch = new Watch()
  const numbers: (number | undefined)[] = []
  for (const key of keys) numbers.push(await watch.take(slots, key))
  expect(numbers).toEqual(expected)
})

test('a slot that was given back twice is one slot', async () => {
  const slots = new Slots(1, 10)
  const watch = new Watch()
  for (const key of 'abc') await watch.take(slots, key)
  await watch.leave(0)
  await watch.leave(0)
  expect(watch.granted).toEqual([0, 1])
})

test('callers go in turn, and of each caller its connections', async () => {
  const slots = new Slots(1, 20)
  const held = slots.take('x', 'first')
  const order: string[] = []
  const tickets = ['a1', 'a1', 'a2', 'b3', 'a1', 'b3', 'c1'].map(name => {
    const [owner = '', key = ''] = name
    const ticket = slots.take(key, owner)
    ticket?.ready.then(() => order.push(name))
    return ticket
  })
  held?.leave()
  while (order.length < tickets.length) {
    await Promise.resolve()
    const names = ['a1', 'a1', 'a2', 'b3', 'a1', 'b3', 'c1']
    const place = order.length - 1
    // Gives back the slot of whoever got it last: the n-th of that name is the n-th ticket of that name.
    const name = order[place]
    const nth = order.slice(0, place).filter(each => each === name).length
    const at = names.flatMap((each, i) => (each === name ? [i] : []))[nth]
    if (at !== undefined) tickets[at]?.leave()
    await Promise.resolve()
  }
  expect(order).toEqual(['a1', 'b3', 'c1', 'a2', 'b3', 'a1', 'a1'])
})

test('a full queue makes room for who has fewer waiting, at the cost of who has most', async () => {
  const slots = new Slots(1, 4)
  const held = slots.take('x', 'noisy')
  const noisy = Array.from({ length: 4 }, (_, i) => slots.take(`k${i}`, 'noisy'))
  expect(slots.take('k', 'noisy')).toBeUndefined()
  const quiet = slots.take('k', 'quiet')
  expect(await noisy[3]?.ready).toBe(false)
  // Two of quiet's would leave noisy with two as well: so far it goes, and no further.
  expect(slots.take('k', 'quiet')).toBeDefined()
  expect(slots.take('k', 'quiet')).toBeUndefined()
  noisy[3]?.leave()
  held?.leave()
  expect(await noisy[0]?.ready).toBe(true)
  noisy[0]?.leave()
  expect(await quiet?.ready).toBe(true)
})

test('it is crowded while anyone waits, and no longer', () => {
  const slots = new Slots(1, 2)
  const held = slots.take('a')
  expect(slots.crowded).toBe(false)
  const waiting = slots.take('a')
  expect(slots.crowded).toBe(true)
  held?.leave()
  expect(slots.crowded).toBe(false)
  waiting?.leave()
  expect(slots.crowded).toBe(false)
})
