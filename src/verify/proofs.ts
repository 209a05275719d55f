/**
 * Owns the check of what is small enough to stand alone: a receipt document, and that one checkpoint extends another. Takes
 * nothing from a document that its proof does not cover.
 */
import { extend, includes, leafHash } from './merkle.ts'
import { type Checkpoint, openCheckpoint, type TrustedKey } from './note.ts'

export type Checked = { holds: string } | { problem: string }

/** `{ record, leaf, proof, checkpoint }`: that the record is one of those that the checkpoint covers. */
export function checkReceipt(document: unknown, keys: readonly TrustedKey[]): Checked {
  const { record, leaf, proof, checkpoint } = (document ?? {}) as Record<string, unknown>
  const path = hashesOf(proof)
  if (typeof record !== 'string' || typeof checkpoint !== 'string' || !path) {
    return { problem: 'the receipt does not have record, leaf, proof and checkpoint' }
  }
  const signed = openCheckpoint(Buffer.from(checkpoint), keys)
  if ('problem' in signed) return { problem: `the receipt's checkpoint ${signed.problem}` }
  const hash = leafHash(Buffer.from(record))
  if (hash.toString('hex') !== leaf) {
    return { problem: "the receipt's record was changed: its bytes do not hash to its leaf" }
  }
  const seq = Number(/^\{"seq":([1-9]\d{0,14}),/.exec(record)?.[1])
  const within = seq <= signed.size && includes(hash, seq - 1, signed.size, path, signed.root)
  return within
    ? {
        holds: `record ${seq} is in the log ${signed.origin} of ${signed.size} records, signed by ${signed.signer}`,
      }
    : { problem: `record ${seq} is not proven to be in the log ${signed.origin} of ${signed.size} records` }
}

/** `{ from, to, proof }`: that the log under the newer checkpoint begins with all of the log under the older. */
export function checkExtension(older: Checkpoint, newer: Checkpoint, document: unknown): Checked {
  const { from, to, proof } = (document ?? {}) as Record<string, unknown>
  const path = hashesOf(proof)
  if (!path) return { problem: 'the consistency proof does not have from, to and proof' }
  if (from !== older.size || to !== newer.size) {
    return { problem: `the consistency proof is not from ${older.size} to ${newer.size} records` }
  }
  return extend(older.size, newer.size, path, older.root, newer.root)
    ? {
        holds: `the log ${newer.origin} of ${newer.size} records begins with the one of ${older.size} records`,
      }
    : {
        problem: `the log of ${newer.size} records is not proven to begin with the one of ${older.size} records`,
      }
}

function hashesOf(proof: unknown): Buffer[] | undefined {
  if (!Array.isArray(proof)) return undefined
  const good = proof.every(each => typeof each === 'string' && /^[0-9a-f]{64}$/.test(each))
  return good ? proof.map(each => Buffer.from(each, 'hex')) : undefined
}
