// Checks what the one call to the platform does about its deadline, with a network that is passed in.
import { expect, test } from 'vitest'
import { Secret } from '../../src/crypto.ts'
import { forward } from '../../src/upstream/forward.ts'

const request = {
  baseUrl: 'https://platform.example/api',
  target: { organisationId: 'ORG1', connectionId: 'CONN1', version: '1.0.0' },
  cookie: new Secret('session=0123456789abcdef'),
  requestId: 'request-1',
  trace: {},
  body: undefined,
}

/** A deadline that is kept by hand: what to call when it is over, and how often it was called off. */
function deadline() {
  const kept = { over: () => {}, calledOff: 0 }
  const late = (abort: () => void) => {
    kept.over = abort
    return () => void kept.calledOff++
  }
  return { kept, late }
}

test.each<[string, typeof fetch, object]>([
  ['an answer', async () => new Response(null, { status: 204 }), { kind: 'answered', status: 204, body: '' }],
  ['no connection', () => Promise.reject(new Error('refused')), { kind: 'lost' }],
])('%s calls the deadline off', async (_, fetcher, reply) => {
  const { kept, late } = deadline()
  expect(await forward(fetcher, request, late)).toMatchObject(reply)
  expect(kept.calledOff).toBe(1)
})

test('a deadline that is over ends the call', async () => {
  const { kept, late } = deadline()
  const hanging: typeof fetch = (_, init) =>
    new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(new Error('aborted'))))
  const reply = forward(hanging, request, late)
  kept.over()
  expect(await reply).toEqual({ kind: 'timeout' })
  expect(kept.calledOff).toBe(1)
})
