/**
 * Owns the verifier's half of the hash tree: the root over leaves as they come, and the checks of both kinds of proof. Written
 * apart from the code that makes them. Never reads a file.
 */
import { hash } from 'node:crypto'

/** RFC 6962, section 2.1: SHA-256(0x00 ‖ record bytes). */
export function leafHash(record: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(1 + record.byteLength)
  bytes[0] = 0
  bytes.set(record, 1)
  return hash('sha256', bytes, 'buffer')
}

/** RFC 6962, section 2.1: SHA-256(0x01 ‖ left ‖ right). */
function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(1 + left.byteLength + right.byteLength)
  bytes[0] = 1
  bytes.set(left, 1)
  bytes.set(right, 1 + left.byteLength)
  return hash('sha256', bytes, 'buffer')
}

/** A tree that grows leaf by leaf, and holds no more than one hash a level. */
export class Tree {
  size = 0
  /** The roots of the perfect trees that the leaves fall into, the largest first. */
  readonly #perfect: Buffer[] = []

  add(leaf: Buffer): void {
    let node = leaf
    for (let rest = this.size; rest % 2 === 1; rest = (rest - 1) / 2) {
      node = nodeHash(this.#perfect.pop() as Buffer, node)
    }
    this.#perfect.push(node)
    this.size++
  }

  /** Of no leaves it is SHA-256 of nothing. */
  get root(): Buffer {
    const last = this.#perfect.at(-1)
    if (!last) return hash('sha256', '', 'buffer')
    return this.#perfect.slice(0, -1).reduceRight((right: Buffer, left) => nodeHash(left, right), last)
  }
}

/** RFC 9162, section 2.1.3.2: whether a leaf is number `index`, counted from 0, of the `size` under a root. */
export function includes(
  leaf: Buffer,
  index: number,
  size: number,
  proof: readonly Buffer[],
  root: Buffer,
): boolean {
  if (index >= size) return false
  const at = { first: index, last: size - 1 }
  let node = leaf
  for (const sibling of proof) {
    if (at.last === 0) return false
    if (isLeftNode(at)) node = nodeHash(node, sibling)
    else {
      node = nodeHash(sibling, node)
      climbToRight(at)
    }
    up(at)
  }
  return at.last === 0 && node.equals(root)
}

/** RFC 9162, section 2.1.4.2: whether the tree of `to` leaves begins with the tree of `from`. */
export function extend(
  from: number,
  to: number,
  proof: readonly Buffer[],
  oldRoot: Buffer,
  newRoot: Buffer,
): boolean {
  if (from > to) return false
  if (from === to) return proof.length === 0 && oldRoot.equals(newRoot)
  if (from === 0) return proof.length === 0 && oldRoot.equals(new Tree().root)
  const at = { first: from - 1, last: to - 1 }
  while (at.first % 2 === 1) up(at)
  // Where the old tree is perfect, its root is where both begin, and the proof leaves it out.
  const [start, ...path] = at.first === 0 ? [oldRoot, ...proof] : proof
  if (!start) return false
  let [oldHash, newHash] = [start, start]
  for (const sibling of path) {
    if (at.last === 0) return false
    if (isLeftNode(at)) newHash = nodeHash(newHash, sibling)
    else {
      oldHash = nodeHash(sibling, oldHash)
      newHash = nodeHash(sibling, newHash)
      climbToRight(at)
    }
    up(at)
  }
  return at.last === 0 && oldHash.equals(oldRoot) && newHash.equals(newRoot)
}

/** A node and the last one of its level, by their numbers. Halved, not shifted: bit operations end at 32 bits. */
interface Place {
  first: number
  last: number
}

/** The last node of a level has no sibling to its right, whatever its number. */
function isLeftNode({ first, last }: Place): boolean {
  return first % 2 === 0 && first !== last
}

function climbToRight(at: Place): void {
  while (at.first % 2 === 0 && at.first !== 0) up(at)
}

function up(at: Place): void {
  at.first = Math.floor(at.first / 2)
  at.last = Math.floor(at.last / 2)
}
