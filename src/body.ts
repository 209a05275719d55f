/** Owns reading a body to its end, but no further than a bound, and what of bytes is text. */
import { concat } from './crypto.ts'

/** Room for a body of which no length is known. */
const firstRoom = 16 * 1024

/**
 * The bytes of a message's body, or undefined past `limitBytes`: the rest is not read. Throws where the connection breaks.
 */
export async function readBody(
  message: Request | Response,
  limitBytes: number,
): Promise<Uint8Array | undefined> {
  const { body, headers } = message
  if (!body) return new Uint8Array(0)
  // HTTP ends a body where its length says (RFC 9112, section 6.3), so there is no more to come; but what is decoded on the
  // way grows past it.
  if (lengthOf(headers) <= limitBytes && !headers.has('Content-Encoding')) {
    const bytes = new Uint8Array(await message.arrayBuffer())
    return bytes.byteLength <= limitBytes ? bytes : undefined
  }
  const reader = body.getReader({ mode: 'byob' })
  const chunks: Uint8Array[] = []
  let room = firstRoom
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

/** The Content-Length; infinity where there is none that is a number. */
function lengthOf(headers: Headers): number {
  const claimed = headers.get('Content-Length') ?? ''
  return /^\d{1,9}$/.test(claimed) ? Number(claimed) : Number.POSITIVE_INFINITY
}

/** Made once: each costs as much as what it decodes here. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text that bytes are in UTF-8, a byte order mark included; throws where they are none. */
export function utf8(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}
