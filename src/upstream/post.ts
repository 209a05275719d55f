/**
 * Owns the one call to the receiver of alerts: a message signed as Standard Webhooks has it. Knows nothing of sessions.
 * Never follows a redirect, never reads an answer's body, never throws. No clock: the time comes in.
 */
import { fromBase64, hmacSha256, type Secret } from '../crypto.ts'
import type { Config } from '../env.ts'
import { retryAfterSeconds } from './headers.ts'

/** What is told. `id` is the same each time that this is sent. */
export interface Message {
  id: string
  body: string
}

/** How the receiver took it. */
export interface Reception {
  status: number
  retryAfterSeconds: number | undefined
}

const maxTimeoutMs = 10_000

/** Sends a message once; undefined where no answer came in time. */
export async function post(
  fetcher: typeof fetch,
  { url, secret }: NonNullable<Config['alerts']>,
  { id, body }: Message,
  nowMs: number,
  timeoutMs: number,
): Promise<Reception | undefined> {
  const seconds = Math.floor(nowMs / 1000)
  try {
    const response = await fetcher(url.reveal(), {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'versori-gateway',
        'webhook-id': id,
        'webhook-timestamp': String(seconds),
        'webhook-signature': webhookSignature(secret, id, seconds, body),
      },
      body,
      redirect: 'manual',
      cache: 'no-store',
      signal: AbortSignal.timeout(Math.min(maxTimeoutMs, timeoutMs)),
    })
    // Nobody reads it, and an open body would keep the connection.
    response.body?.cancel().catch(() => {})
    const retryAfter = response.headers.get('Retry-After')
    return { status: response.status, retryAfterSeconds: retryAfterSeconds(retryAfter, nowMs) }
  } catch {
    return undefined
  }
}

/** Standard Webhooks, "Signature scheme": HMAC-SHA-256 over `id.timestamp.body`. */
export function webhookSignature(secret: Secret, id: string, seconds: number, body: string): string {
  const key = fromBase64(secret.reveal().replace(/^whsec_/, '')) as Uint8Array
  return `v1,${hmacSha256(key, `${id}.${seconds}.${body}`)}`
}
