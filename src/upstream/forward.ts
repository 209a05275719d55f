/**
 * Owns the one call to the platform, and is called by the organisation's object alone: where the cookie can go is
 * answered by who imports this file. Never follows a redirect, never caches, never retries, never throws.
 */
import { readBody, utf8 } from '../body.ts'
import { retryAfterSeconds } from './headers.ts'
import { fetchArguments, type UpstreamRequest } from './request.ts'
import type { Reply } from './verdict.ts'

const maxAnswerBytes = 128 * 1024

/**
 * Sends one request and reads the answer to its end. What went wrong is a value. `late` calls what it is given once the time is
 * over; what it returns calls that off.
 */
export async function forward(
  fetcher: typeof fetch,
  request: UpstreamRequest,
  late: (abort: () => void) => () => void,
): Promise<Reply> {
  const [url, init] = fetchArguments(request)
  const abort = new AbortController()
  const inTime = late(() => abort.abort())
  try {
    const response = await fetcher(url, { ...init, signal: abort.signal })
    const body = await textOf(response)
    if (body === undefined) return { kind: 'oversized', status: response.status }
    return {
      kind: 'answered',
      status: response.status,
      contentType: response.headers.get('Content-Type') ?? '',
      body,
      setCookies: response.headers.getSetCookie(),
      retryAfterSeconds: retryAfterSeconds(response.headers.get('Retry-After'), Date.now()),
    }
  } catch {
    // The runtime throws the same for a refused connection and for one lost after sending.
    return { kind: abort.signal.aborted ? 'timeout' : 'lost' }
  } finally {
    inTime()
  }
}

/** The body as text, or undefined past 128 KiB. Throws where the connection breaks. */
async function textOf(response: Response): Promise<string | undefined> {
  const bytes = await readBody(response, maxAnswerBytes)
  try {
    return bytes && utf8(bytes)
  } catch {
    // What is not UTF-8 is no JSON either, and nothing of it is passed on.
    return ''
  }
}
