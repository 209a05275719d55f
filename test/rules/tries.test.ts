// Checks how many wrong secrets an address may present to the console.
import { expect, test } from 'vitest'
import { Tries } from '../../src/auth/tries.ts'

const minute = 60_000

test('ten a minute, then the rest of that minute is waited for', () => {
  const tries = new Tries()
  for (let i = 0; i < 10; i++) {
    expect(tries.waitSeconds('a', i * 1000)).toBeUndefined()
    tries.count('a', i * 1000)
  }
  expect(tries.waitSeconds('a', 10_000)).toBe(50)
  expect(tries.waitSeconds('a', minute - 1)).toBe(1)
  expect(tries.waitSeconds('a', minute)).toBeUndefined()
})

test('another address is not kept out', () => {
  const tries = new Tries()
  for (let i = 0; i < 20; i++) tries.count('a', 0)
  expect(tries.waitSeconds('b', 0)).toBeUndefined()
})

test('a new minute counts anew', () => {
  const tries = new Tries()
  for (let i = 0; i < 10; i++) tries.count('a', 0)
  tries.count('a', minute)
  expect(tries.waitSeconds('a', minute)).toBeUndefined()
})

test('what is remembered is bounded: the oldest address goes', () => {
  const tries = new Tries()
  for (let i = 0; i < 10; i++) tries.count('first', 0)
  for (let i = 0; i < 10_000; i++) tries.count(`${i}`, 0)
  expect(tries.waitSeconds('first', 0)).toBeUndefined()
})
