/** Owns cutting a stream of bytes into lines. Holds one line and one chunk at a time, never a file. */

/** More than any record has: an object's storage keeps no row of 2 MB. */
const maxLineBytes = 4_000_000

/** The lines of each chunk, without their line feeds; `whole` is false of a last one that has none. */
export interface Batch {
  lines: Buffer[]
  whole: boolean
}

/** Cuts bytes at each 0x0A. A line that is too long ends it all: it is handed out as far as it goes, and not whole. */
export async function* lineBatches(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Batch, undefined> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const bytes = rest.byteLength > 0 ? Buffer.concat([rest, chunk]) : Buffer.from(chunk)
    const lines: Buffer[] = []
    let start = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      lines.push(bytes.subarray(start, end))
      start = end + 1
    }
    rest = bytes.subarray(start)
    if (lines.length > 0) yield { lines, whole: true }
    if (rest.byteLength > maxLineBytes) break
  }
  if (rest.byteLength > 0) yield { lines: [rest], whole: false }
  return undefined
}
