/**
 * Owns reading a body to its end, but no further than a bound, and what of bytes is text. Never trusts a length that a header
 * claims: it only says how much room to make at first.
 */
import { concat } from './crypto.ts'

/** Room for a body of which no length is known. */
const firstRoom = 16 * 1024

/**
 * The bytes of a message's body, or undefined past `limitBytes`: the rest is not read. Where its Content-Length is true, one
 * read takes the body and sees its end. Throws where the connection breaks.
 */
export async function readBody(
  { body, headers }: Pick<Request | Response, 'body' | 'headers'>,
  limitBytes: number,
): Promise<Uint8Array | undefined> {
  if (!body) return new Uint8Array(0)
  const claimed = headers.get('Content-Length') ?? ''
  // Not arrayBuffer(): an answer in chunks (RFC 9112, section 6.3) or packed has no end where its length says.
  const reader = body.getReader({ mode: 'byob' })
  const chunks: Uint8Array[] = []
  let room = /^\d{1,9}$/.test(claimed) ? Number(claimed) + 1 : firstRoom
  for (let length = 0; ; room = 2 * length) {
    // One byte past the bound is enough to know that it is passed.
    room = Math.min(room, limitBytes - length + 1)
    const { value, done } = await reader.readAtLeast(room, new Uint8Array(room))
    if (value) chunks.push(value)
    length += value?.byteLength ?? 0
    if (length > limitBytes) {
      await reader.cancel()
      return undefined
    }
    // Less than there was room for: this was the end.
    if (done || !value || value.byteLength < room) break
  }
  return chunks.length === 1 ? chunks[0] : concat(...chunks)
}

/** Made once: each costs as much as what it decodes here. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text that bytes are in UTF-8, a byte order mark included; throws where they are none. */
export function utf8(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}
