/**
 * Owns the hash tree over the audit log (RFC 6962, section 2.1): leaves, inner nodes, appending, the root. Pure
 * and without state of its own; an offline verifier may use this file and needs nothing else of the gateway.
 */
import { sha256 } from '../crypto.ts'

const leafPrefix = new Uint8Array([0])
const nodePrefix = new Uint8Array([1])
export const hashBytes = 32

/** SHA-256(0x00 ‖ record bytes). */
export function leafHash(record: string | Uint8Array): Uint8Array {
  return typeof record === 'string' ? sha256(`\0${record}`) : sha256(leafPrefix, record)
}

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(nodePrefix, left, right)
}

/**
 * The right edge of a tree of `size` leaves: the hashes of the perfect subtrees that it splits into, the smallest
 * last. Level l is present where bit l of `size` is set, so an append costs as many hashes as a counter has carries.
 */
export interface Frontier {
  size: number
  hashes: readonly Uint8Array[]
}

export const emptyTree: Frontier = { size: 0, hashes: [] }

/**
 * Appends a leaf. `completed` holds what has become final with it: the leaf's hash, then the node of every perfect
 * subtree that ends in this leaf, by level. Kept beside the record, they are every node that a proof ever needs.
 */
export function append(tree: Frontier, leaf: Uint8Array): { tree: Frontier; completed: Uint8Array[] } {
  const hashes = [...tree.hashes]
  const completed = [leaf]
  let node = leaf
  for (let rest = tree.size; rest % 2 === 1; rest = (rest - 1) / 2) {
    node = nodeHash(hashes.pop() as Uint8Array, node)
    completed.push(node)
  }
  hashes.push(node)
  return { tree: { size: tree.size + 1, hashes }, completed }
}

/** Where the frontier of a tree of `size` leaves stands: the leaf (from 1) that completed each subtree, and its level. */
export function frontierPlaces(size: number): { seq: number; level: number }[] {
  const places: { seq: number; level: number }[] = []
  let seq = 0
  for (let level = 52; level >= 0; level--) {
    const width = 2 ** level
    if (Math.floor(size / width) % 2 === 1) {
      seq += width
      places.push({ seq, level })
    }
  }
  return places
}

/** The Merkle tree hash; of an empty tree, the hash of nothing. */
export function root(tree: Frontier): Uint8Array {
  const [last, ...rest] = [...tree.hashes].reverse()
  if (!last) return sha256('')
  return rest.reduce((right, left) => nodeHash(left, right), last)
}
