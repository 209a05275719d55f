// Checks which headers go to the platform, which trace context does, and how a Retry-After is read.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Secret } from '../../src/crypto.ts'
import { requestHeaders, retryAfterSeconds, type Trace, validTrace } from '../../src/upstream/headers.ts'

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const cookie = new Secret('cookie=value; other=1')

test('a request without a body has these headers and no other', () => {
  expect(requestHeaders(cookie, 'id-1', {}, false)).toEqual({
    Accept: 'application/json',
    Cookie: 'cookie=value; other=1',
    'User-Agent': 'versori-gateway',
    Via: '1.1 versori-gateway',
    'X-Request-Id': 'id-1',
    'Cache-Control': 'no-store',
  })
})

test('one with a body has its media type too', () => {
  expect(requestHeaders(cookie, 'id-1', {}, true)).toEqual({
    ...requestHeaders(cookie, 'id-1', {}, false),
    'Content-Type': 'application/json',
  })
})

test('a valid trace goes along, an invalid one does not', () => {
  const trace = { traceparent, tracestate: 'vendor=1' }
  expect(requestHeaders(cookie, 'id-1', trace, true)).toEqual({
    ...requestHeaders(cookie, 'id-1', {}, true),
    ...trace,
  })
  expect(requestHeaders(cookie, 'id-1', { ...trace, traceparent: 'x' }, true)).toEqual(
    requestHeaders(cookie, 'id-1', {}, true),
  )
})

test('what else is in a trace stays behind', () => {
  const trace = { traceparent, Cookie: 'x', baggage: 'y' } as Trace
  expect(validTrace(trace)).toEqual({ traceparent })
})

describe('traceparent', () => {
  test.each([
    ["the specification's example", traceparent],
    ['not sampled', `${traceparent.slice(0, -2)}00`],
    ['flags to come', `${traceparent.slice(0, -2)}ff`],
    ['ids of one bit', `00-${'0'.repeat(31)}1-1${'0'.repeat(15)}-00`],
  ])('%s', (_, text) => {
    expect(validTrace({ traceparent: text })).toEqual({ traceparent: text })
  })

  test.each([
    ['nothing', ''],
    ['a version to come', traceparent.replace('00-', '01-')],
    ['the version that is forbidden', traceparent.replace('00-', 'ff-')],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a parent id of zeros', `00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01`],
    ['upper case', traceparent.toUpperCase()],
    ['no flags', traceparent.slice(0, -3)],
    ['more behind it', `${traceparent}-x`],
    ['a short trace id', traceparent.replace('4bf9', '4bf')],
    ['a long parent id', traceparent.replace('00f0', '00f00')],
    ['not hexadecimal', traceparent.replace('4bf9', '4bg9')],
    ['a line end after it', `${traceparent}\n`],
    ['a space before it', ` ${traceparent}`],
    ['two', `${traceparent}, ${traceparent}`],
  ])('not %s', (_, text) => {
    expect(validTrace({ traceparent: text, tracestate: 'vendor=1' })).toEqual({})
  })
})

describe('tracestate', () => {
  const members = (length: number) => Array.from({ length }, (_, i) => `k${i}=${i}`).join(',')
  test.each([
    ['one', 'vendor=1'],
    ['several', 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE'],
    ['spaces around members', 'a=1 , b=2'],
    ['a tenant', 'fw529a3039@dt=FfffffffCE'],
    ['every other character of a key', 'a_-*/@0=1'],
    ['a space inside a value', 'a=1 2'],
    ['32 members', members(32)],
    ['512 characters', `a=${'x'.repeat(252)},b=${'y'.repeat(255)}`],
  ])('%s', (_, tracestate) => {
    expect(validTrace({ traceparent, tracestate })).toEqual({ traceparent, tracestate })
  })

  test.each([
    ['nothing', ''],
    ['no value', 'a='],
    ['no key', '=1'],
    ['no equals sign', 'a'],
    ['an upper-case key', 'A=1'],
    ['an equals sign in a value', 'a=1=2'],
    ['a key that begins with a sign', '_a=1'],
    ['a key of 257 characters', `${'a'.repeat(257)}=1`],
    ['a value of 257 characters', `a=${'x'.repeat(257)}`],
    ['33 members', members(33)],
    ['513 characters', `a=${'x'.repeat(253)},b=${'y'.repeat(255)}`],
    ['a control character', 'a=\x7f'],
    ['a tab in a value', 'a=1\t2'],
    ['a line end in a value', 'a=1\r\nCookie: x'],
    ['a line end at its end', 'a=1\r\n'],
    ['beyond ASCII', 'a=é'],
    ['a no-break space at its end', 'a=1\u00a0'],
  ])('not %s', (_, tracestate) => {
    expect(validTrace({ traceparent, tracestate })).toEqual({ traceparent })
  })

  test('none without a traceparent', () => {
    expect(validTrace({ tracestate: 'vendor=1' })).toEqual({})
    expect(validTrace({})).toEqual({})
  })
})

describe('retryAfterSeconds', () => {
  const now = Date.parse('2026-11-24T09:30:00.500Z')
  test.each<[string, string | null, number | undefined]>([
    ['no header', null, undefined],
    ['seconds', '120', 120],
    ['at least one', '0', 1],
    ['leading zeros', '007', 7],
    ['at most an hour', '3601', 3600],
    ['days', '999999999', 3600],
    ['ten digits', '1000000000', 3600],
    ['a date, rounded up', 'Tue, 24 Nov 2026 09:30:10 GMT', 10],
    ['a date at hand', 'Tue, 24 Nov 2026 09:30:01 GMT', 1],
    ['a date gone by', 'Tue, 24 Nov 2026 09:00:00 GMT', 1],
    ['a date far off', 'Tue, 24 Nov 2037 09:30:00 GMT', 3600],
    ['nothing', '', undefined],
    ['a word', 'soon', undefined],
    ['a word and a number', 'soon 5', undefined],
    ['below zero', '-5', undefined],
    ['a sign', '+5', undefined],
    ['a fraction', '1.5', undefined],
    ['a unit', '5s', undefined],
    ['an exponent', '1e3', undefined],
    ['hexadecimal', '0x10', undefined],
    ['two', '5, 10', undefined],
  ])('%s', (_, value, seconds) => {
    expect(retryAfterSeconds(value, now)).toBe(seconds)
  })
})

test('whatever a caller sends, no other header goes out and none holds a line break', () => {
  const allowed = [
    'Accept',
    'Content-Type',
    'Cookie',
    'User-Agent',
    'Via',
    'X-Request-Id',
    'Cache-Control',
    'traceparent',
    'tracestate',
  ]
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constant(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01\r\nCookie: x`),
  )
  fc.assert(
    fc.property(hostile, hostile, fc.boolean(), (traceparent, tracestate, hasBody) => {
      const headers = requestHeaders(
        new Secret('cookie=x'),
        'request-1',
        { traceparent, tracestate },
        hasBody,
      )
      expect(Object.keys(headers).filter(name => !allowed.includes(name))).toEqual([])
      expect(Object.values(headers).filter(value => /[\r\n\0]/.test(value))).toEqual([])
      expect(headers.Cookie).toBe('cookie=x')
    }),
  )
})
