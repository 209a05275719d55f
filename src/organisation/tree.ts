/**
 * Owns the hash tree over the audit log (RFC 6962, section 2.1): leaves, inner nodes, appending, the root, proofs. Pure
 * and without state of its own. Never verifies: src/verify/ does, and stands without this file.
 */
import { concat, sha256 } from '../crypto.ts'

const leafPrefix = new Uint8Array([0])
const nodePrefix = new Uint8Array([1])
export const hashBytes = 32

/** SHA-256(0x00 ‖ record bytes). */
export function leafHash(record: string | Uint8Array): Uint8Array {
  return sha256(typeof record === 'string' ? `\0${record}` : concat(leafPrefix, record))
}

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concat(nodePrefix, left, right))
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

/** The right edge of the tree as it was, or is, with `size` leaves: reads a node for every bit that is set in `size`. */
export function treeOf(nodeAt: NodeAt, size: number): Frontier {
  return { size, hashes: frontierPlaces(size).map(({ seq, level }) => nodeAt(seq, level)) }
}

/** The Merkle tree hash; of an empty tree, the hash of nothing. */
export function root(tree: Frontier): Uint8Array {
  const [last, ...rest] = [...tree.hashes].reverse()
  if (!last) return sha256('')
  return rest.reduce((right, left) => nodeHash(left, right), last)
}

/** Reads the hash of the perfect subtree of 2^level leaves that ends in leaf `seq` (from 1): what `append` completed there. */
export type NodeAt = (seq: number, level: number) => Uint8Array

/** PATH(seq - 1, D[size]) of RFC 6962, section 2.1.1, for 1 ≤ seq ≤ size. Reads at most two nodes a level of the tree. */
export function inclusionProof(nodeAt: NodeAt, seq: number, size: number): Uint8Array[] {
  const path: Uint8Array[] = []
  for (let start = 0, end = size; end - start > 1; ) {
    const middle = start + largestPowerBelow(end - start)
    if (seq <= middle) {
      path.push(rangeHash(nodeAt, middle, end))
      end = middle
    } else {
      path.push(rangeHash(nodeAt, start, middle))
      start = middle
    }
  }
  return path.reverse()
}

/**
 * PROOF(from, D[to]) of RFC 6962, section 2.1.2, for from ≤ to; empty where `from` is 0 or `to`, as nothing is then to be
 * proven. Reads at most two nodes a level of the tree.
 */
export function consistencyProof(nodeAt: NodeAt, from: number, to: number): Uint8Array[] {
  if (from === 0) return []
  const path: Uint8Array[] = []
  let start = 0
  for (let end = to; from !== end; ) {
    const middle = start + largestPowerBelow(end - start)
    if (from <= middle) {
      path.push(rangeHash(nodeAt, middle, end))
      end = middle
    } else {
      path.push(rangeHash(nodeAt, start, middle))
      start = middle
    }
  }
  // From the first leaf on it would be the old root, which the verifier has.
  if (start > 0) path.push(rangeHash(nodeAt, start, from))
  return path.reverse()
}

/** MTH(D[start:end]), where `start` is where the tree above would split: a stored node, or what the right edge comes to. */
function rangeHash(nodeAt: NodeAt, start: number, end: number): Uint8Array {
  const half = largestPowerBelow(end - start)
  const width = end - start
  if (width === 1 || half * 2 === width) return nodeAt(end, Math.log2(width))
  return nodeHash(rangeHash(nodeAt, start, start + half), rangeHash(nodeAt, start + half, end))
}

/** The largest power of two that is smaller than `n`. No bit operations: those end at 32 bits. */
function largestPowerBelow(n: number): number {
  let power = 1
  while (power * 2 < n) power *= 2
  return power
}
