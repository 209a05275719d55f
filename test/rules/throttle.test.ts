/** Checks what the edge remembers of credentials and addresses, to the millisecond, and that it forgets. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressKey, Throttle } from '../../src/auth/throttle.ts'

const start = 1_000_000
const minute = 60_000
const ask = { kind: 'ask' }

describe('a credential that never existed', () => {
  test.each([
    [0, { kind: 'never-existed' }],
    [minute - 1, { kind: 'never-existed' }],
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
  const passages = (throttle: Throttle, count: number, at: number) =>
    Array.from({ length: count }, (_, i) => throttle.passage(`new ${i}`, 'a', at).kind)

  test('may try ten that are not known, then one a second', () => {
    const throttle = blocked()
    const many = [...Array(10).fill('ask'), 'wait', 'wait']
    expect(passages(throttle, 12, start)).toEqual(many)
    expect(passages(throttle, 2, start + 999)).toEqual(['wait', 'wait'])
    expect(passages(throttle, 2, start + 1_000)).toEqual(['ask', 'wait'])
    expect(passages(throttle, 2, start + 1_999)).toEqual(['wait', 'wait'])
    expect(passages(throttle, 12, start + 30_000)).toEqual(many)
  })

  test('goes on with what was let in before, for as long as it is', () => {
    const throttle = blocked()
    throttle.accept('good')
    passages(throttle, 10, start)
    expect(throttle.passage('good', 'a', start)).toEqual(ask)
    throttle.refuse('good', true, start)
    expect(throttle.passage('good', 'a', start).kind).toBe('wait')
  })

  test('does not try again what was refused, and keeps its tries for others', () => {
    const throttle = blocked()
    throttle.refuse('expired', true, start)
    expect(throttle.passage('expired', 'a', start + 500)).toEqual({ kind: 'wait', seconds: 60 })
    expect(passages(throttle, 10, start + 500)).toEqual(Array(10).fill('ask'))
  })

  test('is blocked for a minute, alone', () => {
    const throttle = blocked()
    passages(throttle, 10, start)
    expect(throttle.passage('x', 'b', start)).toEqual(ask)
    expect([throttle.isBlocked('a', start), throttle.isBlocked('b', start)]).toEqual([true, false])
    expect(throttle.isBlocked('a', start + minute - 1)).toBe(true)
    expect(throttle.isBlocked('a', start + minute)).toBe(false)
    expect(passages(throttle, 20, start + minute)).toEqual(Array(20).fill('ask'))
  })
})

test('what is remembered is bounded, the oldest goes first', () => {
  const throttle = new Throttle()
  for (let i = 0; i <= 10_000; i++) throttle.refuse(`bad ${i}`, false, start)
  expect(throttle.passage('bad 0', 'a', start)).toEqual(ask)
  expect(throttle.passage('bad 1', 'a', start).kind).toBe('never-existed')
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
