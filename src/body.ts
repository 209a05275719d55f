/**
 * Owns reading a body to its end, but no further than a bound. Never trusts a length that a header claims: it only says how
 * much room to make at first.
 */

/** Room for a body of which no length is known. */
const firstRoom = 16 * 1024

/**
 * The bytes of a body, or undefined past `limitBytes`: the rest is not read. `claimed` is its Content-Length. Where that is
 * true, one read takes the body and sees its end. Throws where the connection breaks.
 */
export async function readBody(
  body: ReadableStream<Uint8Array> | null,
  limitBytes: number,
  claimed: string | null,
): Promise<Uint8Array | undefined> {
  if (!body) return new Uint8Array(0)
  const reader = body.getReader({ mode: 'byob' })
  const chunks: Uint8Array[] = []
  let room = claimed !== null && /^\d{1,9}$/.test(claimed) ? Number(claimed) + 1 : firstRoom
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
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
}
