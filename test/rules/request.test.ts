// Checks what fetch is called with: nothing of it comes from a caller but checked values.
import { expect, test } from 'vitest'
import { Secret } from '../../src/crypto.ts'
import { requestHeaders } from '../../src/upstream/headers.ts'
import { fetchArguments, type UpstreamRequest } from '../../src/upstream/request.ts'

const read: UpstreamRequest = {
  baseUrl: 'https://platform.versori.com/api/connect/v1alpha1',
  target: { organisationId: 'ORG', connectionId: 'CONN', version: 'release 1' },
  cookie: new Secret('cookie=value'),
  requestId: 'id-1',
  trace: { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' },
  body: undefined,
}
const url = `${read.baseUrl}/o/ORG/connections/CONN/versions/release%201`

test('a read is a GET without a body', () => {
  expect(fetchArguments(read)).toEqual([
    url,
    {
      method: 'GET',
      headers: requestHeaders(read.cookie, read.requestId, read.trace, false),
      body: null,
      redirect: 'manual',
      cache: 'no-store',
    },
  ])
})

test.each(['{"name":"1.4.0"}', ''])('an update is a PUT of the one serialisation, here %j', body => {
  expect(fetchArguments({ ...read, body })).toEqual([
    url,
    {
      method: 'PUT',
      headers: requestHeaders(read.cookie, read.requestId, read.trace, true),
      body,
      redirect: 'manual',
      cache: 'no-store',
    },
  ])
})

test('an address that would not keep its shape makes no request', () => {
  expect(() => fetchArguments({ ...read, target: { ...read.target, version: '..' } })).toThrow()
})

test('a request does not print its cookie', () => {
  expect(JSON.stringify({ ...read, body: '{}' })).not.toContain('value')
})
