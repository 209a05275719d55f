/**
 * Owns leaves that someone has: a file of them, `<number>:<hash>` a line as in Audit-Receipt. A whole list that hashes to a
 * checkpoint's root is as good as the checkpoint, record by record; a receipt is as good as whoever kept it.
 */
import { lineBatches } from './lines.ts'
import { Tree } from './merkle.ts'
import type { Checkpoint } from './note.ts'

const pattern = /^([1-9]\d{0,14}):([0-9a-f]{64})$/

/** The leaves of a list, in order. Ends where a line is none, or not the next. */
export async function* leavesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, undefined> {
  let seq = 0
  for await (const { lines } of lineBatches(chunks)) {
    for (const line of lines) {
      const [, number, hash = ''] = pattern.exec(line.toString('latin1')) ?? []
      if (Number(number) !== ++seq) return undefined
      yield Buffer.from(hash, 'hex')
    }
  }
  return undefined
}

/** How many leaves of a list are those that a checkpoint covers: the size of the largest whose root they hash to. */
export async function confirmedLeaves(
  leaves: AsyncIterable<Buffer>,
  checkpoints: readonly Checkpoint[],
): Promise<number> {
  const tree = new Tree()
  let confirmed = 0
  for await (const leaf of leaves) {
    tree.add(leaf)
    const holds = checkpoints.some(({ size, root }) => size === tree.size && root.equals(tree.root))
    if (holds) confirmed = tree.size
  }
  return confirmed
}

export interface Receipts {
  byNumber: Map<number, string>
  /** The first record of which two receipts differ: a log gives one number to one record. */
  forkedAt: number | undefined
}

/** Receipts in any order, by the number of their record; undefined where a line is none. */
export function parseReceipts(text: string): Receipts | undefined {
  const byNumber = new Map<number, string>()
  let forkedAt: number | undefined
  for (const line of text.split('\n')) {
    // As a header was copied, its name may stand before it.
    const bare = line.trim().replace(/^audit-receipt:\s*/i, '')
    if (bare === '') continue
    const [, seq, hash] = pattern.exec(bare) ?? []
    if (hash === undefined) return undefined
    const known = byNumber.get(Number(seq))
    if (known !== undefined && known !== hash) forkedAt ??= Number(seq)
    byNumber.set(Number(seq), hash)
  }
  return { byNumber, forkedAt }
}
