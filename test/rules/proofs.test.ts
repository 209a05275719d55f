/**
 * Checks the proofs over the hash tree: as Certificate Transparency's tests publish them, as RFC 6962 defines them, and by the
 * verifier, which takes no other.
 */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  append,
  consistencyProof,
  emptyTree,
  hashBytes,
  inclusionProof,
  leafHash,
  type NodeAt,
  root,
} from '../../src/organisation/tree.ts'
import { extend, includes, Tree } from '../../src/verify/merkle.ts'

const sha = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
const hex = (hashes: readonly Uint8Array[]) => hashes.map(hash => Buffer.from(hash).toString('hex'))

/** A log as it is stored: beside each leaf the nodes that it completed. */
function stored(leaves: readonly Uint8Array[]): { nodeAt: NodeAt; roots: Buffer[] } {
  let tree = emptyTree
  const rows: Uint8Array[][] = []
  const roots = [Buffer.from(root(tree))]
  for (const leaf of leaves) {
    const step = append(tree, leafHash(leaf))
    tree = step.tree
    rows.push(step.completed)
    roots.push(Buffer.from(root(tree)))
  }
  return {
    roots,
    nodeAt(seq, level) {
      const node = rows[seq - 1]?.[level]
      if (!node) throw new Error(`no node ${level} at ${seq}`)
      return node
    },
  }
}

/** Sections 2.1, 2.1.1 and 2.1.2 of RFC 6962, as they are written. */
const split = (n: number) => {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}
function mth(d: readonly Uint8Array[]): Buffer {
  if (d.length === 0) return sha()
  if (d.length === 1) return sha(new Uint8Array([0]), d[0] as Uint8Array)
  const k = split(d.length)
  return sha(new Uint8Array([1]), mth(d.slice(0, k)), mth(d.slice(k)))
}
function path(m: number, d: readonly Uint8Array[]): Buffer[] {
  if (d.length === 1) return []
  const k = split(d.length)
  return m < k
    ? [...path(m, d.slice(0, k)), mth(d.slice(k))]
    : [...path(m - k, d.slice(k)), mth(d.slice(0, k))]
}
function subproof(m: number, d: readonly Uint8Array[], b: boolean): Buffer[] {
  if (m === d.length) return b ? [] : [mth(d)]
  const k = split(d.length)
  return m <= k
    ? [...subproof(m, d.slice(0, k), b), mth(d.slice(k))]
    : [...subproof(m - k, d.slice(k), false), mth(d.slice(0, k))]
}

// transparency-dev/merkle and google/certificate-transparency: eight leaves, and proofs over them.
const leaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
]
const published = stored(leaves.map(each => Buffer.from(each, 'hex')))
const n0 = '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
const n1 = '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7'
const n4 = 'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b'
const n6 = 'b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f'
const n01 = 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'
const n23 = '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e'
const n45 = '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a'
const n67 = 'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0'
const n0123 = 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'
const n4567 = '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4'

describe('published vectors', () => {
  test.each([
    [1, 1, []],
    [1, 8, [n1, n23, n4567]],
    [6, 8, [n4, n67, n0123]],
    [3, 3, [n01]],
    [2, 5, [n0, n23, n4]],
  ])('record %i is in the tree of %i', (seq, size, proof) => {
    expect(hex(inclusionProof(published.nodeAt, seq, size))).toEqual(proof)
    const leaf = Buffer.from(published.nodeAt(seq, 0))
    const hashes = proof.map(each => Buffer.from(each, 'hex'))
    expect(includes(leaf, seq - 1, size, hashes, published.roots[size] as Buffer)).toBe(true)
  })

  test.each([
    [1, 1, []],
    [1, 8, [n1, n23, n4567]],
    [6, 8, [n45, n67, n0123]],
    [2, 5, [n23, n4]],
    [6, 7, [n45, n6, n0123]],
  ])('the tree of %i is the beginning of that of %i', (from, to, proof) => {
    expect(hex(consistencyProof(published.nodeAt, from, to))).toEqual(proof)
    const hashes = proof.map(each => Buffer.from(each, 'hex'))
    const [older, newer] = [published.roots[from], published.roots[to]] as [Buffer, Buffer]
    expect(extend(from, to, hashes, older, newer)).toBe(true)
  })
})

const log = fc
  .uint8Array({ maxLength: 8 })
  .chain(salt =>
    fc
      .integer({ min: 1, max: 150 })
      .map(size => Array.from({ length: size }, (_, i) => Buffer.from([...salt, i]))),
  )

/** A log with the sizes of one proof: `first` ≤ `second` ≤ its length. */
const proven = log.chain(list =>
  fc
    .tuple(fc.integer({ min: 1, max: list.length }), fc.integer({ min: 1, max: list.length }))
    .map(([a, b]) => ({ list, first: Math.min(a, b), second: Math.max(a, b) })),
)

test('proofs are what the definition says, and the verifier takes them', () => {
  fc.assert(
    fc.property(proven, ({ list, first, second }) => {
      const { nodeAt, roots } = stored(list)
      const cut = list.slice(0, second)
      const inclusion = inclusionProof(nodeAt, first, second).map(Buffer.from)
      expect(hex(inclusion)).toEqual(hex(path(first - 1, cut)))
      const leaf = Buffer.from(nodeAt(first, 0))
      expect(includes(leaf, first - 1, second, inclusion, roots[second] as Buffer)).toBe(true)

      const consistency = consistencyProof(nodeAt, first, second).map(Buffer.from)
      expect(hex(consistency)).toEqual(hex(subproof(first, cut, true)))
      const [older, newer] = [roots[first], roots[second]] as [Buffer, Buffer]
      expect(extend(first, second, consistency, older, newer)).toBe(true)
    }),
  )
})

test('the verifier comes to the same roots', () => {
  fc.assert(
    fc.property(log, list => {
      const tree = new Tree()
      for (const [index, leaf] of list.entries()) {
        tree.add(Buffer.from(leafHash(leaf)))
        expect(tree.root).toEqual(mth(list.slice(0, index + 1)))
      }
    }),
    { numRuns: 20 },
  )
  expect(new Tree().root).toEqual(mth([]))
})

test('the verifier takes no proof for another place, size, leaf or root, nor one that is longer, shorter or changed', () => {
  fc.assert(
    fc.property(proven, fc.nat(), ({ list, first, second }, pick) => {
      const { nodeAt, roots } = stored(list)
      const [older, newer] = [roots[first], roots[second]] as [Buffer, Buffer]
      const wrong = Buffer.alloc(hashBytes, 7)
      const altered = (proof: Buffer[]) => [
        [...proof, wrong],
        ...(proof.length > 0
          ? [proof.slice(1), proof.slice(0, -1), proof.with(pick % proof.length, wrong)]
          : []),
      ]

      const inclusion = inclusionProof(nodeAt, first, second).map(Buffer.from)
      const leaf = Buffer.from(nodeAt(first, 0))
      for (const proof of altered(inclusion)) {
        expect(includes(leaf, first - 1, second, proof, newer)).toBe(false)
      }
      expect(includes(wrong, first - 1, second, inclusion, newer)).toBe(false)
      expect(includes(leaf, first - 1, second, inclusion, wrong)).toBe(false)
      expect(includes(leaf, second, second, inclusion, newer)).toBe(false)
      for (let index = 0; index < second; index++) {
        if (index !== first - 1) expect(includes(leaf, index, second, inclusion, newer)).toBe(false)
      }

      const consistency = consistencyProof(nodeAt, first, second).map(Buffer.from)
      for (const proof of altered(consistency)) expect(extend(first, second, proof, older, newer)).toBe(false)
      expect(extend(first, second, consistency, wrong, newer)).toBe(false)
      expect(extend(first, second, consistency, older, wrong)).toBe(false)
      if (first < second) expect(extend(second, first, consistency, newer, older)).toBe(false)
    }),
  )
})

test('a log begins with the empty one and with itself, and neither needs a proof', () => {
  const { nodeAt, roots } = stored([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')])
  const [empty, three] = [roots[0], roots[3]] as [Buffer, Buffer]
  expect(consistencyProof(nodeAt, 0, 3)).toEqual([])
  expect(consistencyProof(nodeAt, 0, 0)).toEqual([])
  expect(consistencyProof(nodeAt, 3, 3)).toEqual([])
  expect(extend(0, 3, [], empty, three)).toBe(true)
  expect(extend(0, 0, [], empty, empty)).toBe(true)
  expect(extend(3, 3, [], three, three)).toBe(true)
  expect(extend(0, 3, [], three, three)).toBe(false)
  expect(extend(0, 3, [three], empty, three)).toBe(false)
  expect(extend(3, 3, [three], three, three)).toBe(false)
})

test.each([
  [2 ** 20, 2 ** 19 + 1],
  [2 ** 20 + 2 ** 19 - 1, 5],
  [2 ** 33 - 1, 2 ** 32 + 1],
  [2 ** 40 + 2 ** 20 - 1, 2 ** 40 + 3],
  [2 ** 49 - 1, 2 ** 48 + 12_345],
  [999_999_999_999_999, 999_999_999_999_998],
])('in a log of %i, record %i costs at most two nodes a level, and only such as are kept', (size, seq) => {
  let reads = 0
  const nodeAt: NodeAt = (at, level) => {
    reads++
    expect(Number.isInteger(level) && at % 2 ** level === 0 && at <= size).toBe(true)
    return new Uint8Array(hashBytes)
  }
  const levels = Math.ceil(Math.log2(size))
  const inclusion = inclusionProof(nodeAt, seq, size)
  expect(inclusion.length).toBeLessThanOrEqual(levels)
  expect(reads).toBeLessThanOrEqual(2 * levels)
  reads = 0
  expect(consistencyProof(nodeAt, seq, size).length).toBeLessThanOrEqual(levels + 1)
  expect(reads).toBeLessThanOrEqual(2 * levels)
})
