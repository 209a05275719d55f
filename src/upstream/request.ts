/**
 * Owns what a request to the platform is: address, method, headers and body from nothing but checked values. Pure: it
 * is sent in forward.ts.
 */
import type { Secret } from '../crypto.ts'
import { versionUrl } from './address.ts'
import { requestHeaders, type Trace } from './headers.ts'

export interface UpstreamRequest {
  baseUrl: string
  target: { organisationId: string; connectionId: string; version: string }
  cookie: Secret
  requestId: string
  trace: Trace
  /** The update's one serialisation; without it, the request is a GET. */
  body: string | undefined
}

/** What to call fetch with. */
export function fetchArguments(request: UpstreamRequest): [url: string, init: RequestInit] {
  const { baseUrl, target, cookie, requestId, trace, body } = request
  return [
    versionUrl(baseUrl, target),
    {
      method: body === undefined ? 'GET' : 'PUT',
      headers: requestHeaders(cookie, requestId, trace, body !== undefined),
      body: body ?? null,
      // A redirect would carry the cookie wherever the answer says.
      redirect: 'manual',
      cache: 'no-store',
    },
  ]
}
