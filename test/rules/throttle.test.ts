/** Checks what the edge remembers of credentials and addresses, to the millisecond, and that it forgets. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressKey, Throttle } from '../../src/auth/throttle.ts'

const start = 1_000_000
const minute = 60_000
const ask = 'ask'

describe('a credential that never existed', () => {
  test.each([
    [0, 'never-existed'],
    [minute - 1, 'never-existed'],
    [minute, ask],
  ])('after %i ms', (ms, expected) => {
    const throttle = new Throttle()
    throttle.refuse('bad', false, start)
    expect(throttle.passage('bad', 'a', start + ms)).toEqual(expected)
    expect(throttle.passage('other', 'a', start + ms)).toEqual(ask)
  })

  test('one whose token exists is asked about each time', () => {
    const throttle = new Throttle()
    throttle.refuse('expired', true, start)
    expect(throttle.passage('expired', 'a', start)).toEqual(ask)
  })
})

describe('a blocked address', () => {
  function blocked(): Throttle {
    const throttle = new Throttle()
    throttle.block('a', start)
    return throttle
  }
  const lookUps = (throttle: Throttle, count: number, at: number) =>
    Array.from({ length: count }, () => throttle.mayLookUp('a', at))

  test('has all credentials in doubt, but for what was let in before, and for as long as it is', () => {
    const throttle = blocked()
    throttle.accept('good')
    expect([throttle.passage('new', 'a', start), throttle.passage('good', 'a', start)]).toEqual([
      'doubtful',
      'ask',
    ])
    throttle.refuse('good', true, start)
    expect(throttle.passage('good', 'a', start)).toBe('refused-before')
    expect(throttle.passage('good', 'b', start)).toBe('ask')
    throttle.refuse('forged', false, start)
    expect(throttle.passage('forged', 'a', start)).toBe('never-existed')
  })

  test('may have ten organisations asked at once, then one a second', () => {
    const throttle = blocked()
    const ten = [...Array(10).fill(true), false, false]
    expect(lookUps(throttle, 12, start)).toEqual(ten)
    expect(lookUps(throttle, 2, start + 999)).toEqual([false, false])
    expect(lookUps(throttle, 2, start + 1_000)).toEqual([true, false])
    expect(lookUps(throttle, 2, start + 1_999)).toEqual([false, false])
    // A block that goes on gives nothing back.
    throttle.block('a', start + 1_999)
    expect(lookUps(throttle, 1, start + 1_999)).toEqual([false])
    expect(lookUps(throttle, 12, start + 30_000)).toEqual(ten)
  })

  test('is blocked for a minute, alone', () => {
    const throttle = blocked()
    expect(throttle.passage('x', 'b', start)).toBe('ask')
    expect([throttle.isBlocked('a', start), throttle.isBlocked('b', start)]).toEqual([true, false])
    expect(throttle.isBlocked('a', start + minute - 1)).toBe(true)
    expect(throttle.isBlocked('a', start + minute)).toBe(false)
    expect(throttle.passage('x', 'a', start + minute)).toBe('ask')
  })
})

test('what is remembered is bounded, the oldest goes first', () => {
  const throttle = new Throttle()
  for (let i = 0; i <= 10_000; i++) throttle.refuse(`bad ${i}`, false, start)
  expect(throttle.passage('bad 0', 'a', start)).toEqual(ask)
  expect(throttle.passage('bad 1', 'a', start)).toBe('never-existed')
})

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::9', '2001:db8:1:2'],
  ['2001:db8::9', '2001:db8:0:0'],
  ['2001:db8:1::', '2001:db8:1:0'],
  ['::1', '0:0:0:0'],
  ['::ffff:192.0.2.7', '::ffff:192.0.2.7'],
  ['', ''],
])('%s counts as %s', (ip, key) => {
  expect(addressKey(ip)).toBe(key)
})

test('all of a /64 counts as one, and no two of them as the same', () => {
  const part = fc.integer({ min: 1, max: 0xffff }).map(n => n.toString(16))
  const four = fc.tuple(part, part, part, part)
  fc.assert(
    fc.property(four, four, four, (network, host, other) => {
      expect(addressKey([...network, ...host].join(':'))).toBe(addressKey([...network, ...other].join(':')))
      expect(addressKey([...network, ...host].join(':'))).toBe(network.join(':'))
    }),
  )
})
