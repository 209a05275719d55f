// Checks waiting against a clock that is moved by hand: each thing runs once, in time and in order, or never once cancelled.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Timers } from '../../src/organisation/timers.ts'

/** A clock with the runtime's timers, of which none fires before its time. */
function clock() {
  let now = 1_000
  let last = 0
  const running = new Map<number, { at: number; run: () => void }>()
  return {
    running,
    now: () => now,
    set(run: () => void, ms: number) {
      running.set(++last, { at: now + ms, run })
      return last
    },
    clear: (timer: number) => void running.delete(timer),
    /** Sets the clock back; what is running fires as before. */
    setBack(ms: number) {
      now -= ms
      for (const each of running.values()) each.at -= ms
    },
    /** Lets time pass, and what is due fire, `lateMs` after its time. */
    pass(ms: number, lateMs = 0) {
      const end = now + ms
      for (;;) {
        const [first] = [...running].sort(([, a], [, b]) => a.at - b.at)
        if (!first || first[1].at > end) break
        running.delete(first[0])
        now = Math.max(now, first[1].at + lateMs)
        first[1].run()
      }
      now = Math.max(now, end)
    },
  }
}

test('what is late runs once, when its time has come', () => {
  const time = clock()
  const timers = new Timers(time)
  const ran: string[] = []
  timers.after(100, () => ran.push('b'))
  timers.after(50, () => ran.push('a'))
  time.pass(49)
  expect(ran).toEqual([])
  time.pass(1)
  expect(ran).toEqual(['a'])
  time.pass(500)
  expect(ran).toEqual(['a', 'b'])
  expect(time.running.size).toBe(0)
})

test('however many wait, one timer of the runtime runs, and none once nobody waits', () => {
  const time = clock()
  const timers = new Timers(time)
  const cancels = [300, 100, 200, 100].map(ms => timers.after(ms, () => {}))
  expect(time.running.size).toBe(1)
  for (const cancel of cancels) cancel()
  expect(time.running.size).toBe(0)
  for (const cancel of cancels) cancel()
  timers.after(10, () => {})
  expect([...time.running.values()].map(({ at }) => at)).toEqual([1_010])
})

test('what one starts as it runs is waited for as anything else', () => {
  const time = clock()
  const timers = new Timers(time)
  const ran: number[] = []
  timers.after(10, () => timers.after(10, () => ran.push(time.now())))
  time.pass(30)
  expect(ran).toEqual([1_020])
})

test('one that another cancels as both are due does not run', () => {
  const time = clock()
  const timers = new Timers(time)
  const ran: string[] = []
  let cancel = () => {}
  timers.after(10, () => cancel())
  cancel = timers.after(10, () => ran.push('second'))
  time.pass(10)
  expect(ran).toEqual([])
})

test('a clock that is set back makes nobody wait for longer', () => {
  const time = clock()
  const timers = new Timers(time)
  const ran: string[] = []
  timers.after(10, () => ran.push('a'))
  timers.after(20, () => ran.push('b'))
  time.setBack(900)
  timers.after(5, () => ran.push('c'))
  time.pass(5)
  expect(ran).toEqual(['c'])
  time.pass(10)
  expect(ran).toEqual(['c', 'a'])
  time.setBack(900)
  time.pass(10)
  expect(ran).toEqual(['c', 'a', 'b'])
})

test('a sleep ends in time, and never where it is cancelled', async () => {
  const time = clock()
  const timers = new Timers(time)
  const kept = timers.sleep(10)
  const cancelled = timers.sleep(10)
  let ended = false
  void cancelled.done.then(() => (ended = true))
  cancelled.cancel()
  time.pass(10)
  await kept.done
  await Promise.resolve()
  expect(ended).toBe(false)
})

test('whatever is started and cancelled: each runs once and in time, or was cancelled before', () => {
  const step = fc.record({
    pass: fc.nat(50),
    lateMs: fc.nat(3),
    ms: fc.nat(100),
    cancel: fc.option(fc.nat(20), { nil: undefined }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const time = clock()
      const timers = new Timers(time)
      const started: { at: number; cancel: () => void; ranAt?: number; cancelledAt?: number }[] = []
      for (const { pass, lateMs, ms, cancel } of steps) {
        const one: (typeof started)[number] = { at: time.now() + ms, cancel: () => {} }
        one.cancel = timers.after(ms, () => {
          expect(one.ranAt).toBe(undefined)
          one.ranAt = time.now()
        })
        started.push(one)
        const other = cancel === undefined ? undefined : started[cancel]
        if (other && other.ranAt === undefined) {
          other.cancelledAt ??= time.now()
          other.cancel()
        }
        expect(time.running.size).toBeLessThanOrEqual(1)
        time.pass(pass, lateMs)
      }
      time.pass(1_000)
      for (const { at, ranAt, cancelledAt } of started) {
        if (cancelledAt === undefined) {
          expect(ranAt).toBeGreaterThanOrEqual(at)
          expect(ranAt).toBeLessThanOrEqual(at + 3)
        } else expect(ranAt).toBe(undefined)
      }
      expect(time.running.size).toBe(0)
    }),
  )
})
