/** Checks the hash tree against published roots (RFC 6962 as in Certificate Transparency's own tests) and its definition. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toHex } from '../../src/crypto.ts'
import {
  append,
  emptyTree,
  type Frontier,
  frontierPlaces,
  leafHash,
  root,
} from '../../src/organisation/tree.ts'

const leaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map(hex => Buffer.from(hex, 'hex'))

/** A tree and, for each leaf, what it completed. */
function grow(inputs: readonly Uint8Array[]): { tree: Frontier; completed: Uint8Array[][] } {
  let tree = emptyTree
  const all: Uint8Array[][] = []
  for (const input of inputs) {
    const step = append(tree, leafHash(input))
    tree = step.tree
    all.push(step.completed)
  }
  return { tree, completed: all }
}

/** MTH as RFC 6962, section 2.1, writes it down. */
function mth(inputs: readonly Uint8Array[]): Uint8Array {
  const sha = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
  if (inputs.length === 0) return sha()
  if (inputs.length === 1) return sha(new Uint8Array([0]), inputs[0] as Uint8Array)
  let k = 1
  while (k * 2 < inputs.length) k *= 2
  return sha(new Uint8Array([1]), mth(inputs.slice(0, k)), mth(inputs.slice(k)))
}

test.each([
  [0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  [1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
  [2, 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'],
  [3, 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'],
  [4, 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'],
  [5, '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4'],
  [6, '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef'],
  [7, 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'],
  [8, '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'],
])('the root of %i leaves', (size, expected) => {
  const { tree } = grow(leaves.slice(0, size))
  expect(tree.size).toBe(size)
  expect(toHex(root(tree))).toBe(expected)
})

test('a text is hashed as its UTF-8 bytes', () => {
  expect(leafHash('…')).toEqual(leafHash(Buffer.from('e280a6', 'hex')))
})

const inputs = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 200, size: 'max' })

test('every root is what the definition says', () => {
  fc.assert(
    fc.property(inputs, list => {
      expect(toHex(root(grow(list).tree))).toBe(toHex(mth(list)))
    }),
  )
})

test('what each leaf completes is, by level, the hash of the perfect tree that ends in it', () => {
  fc.assert(
    fc.property(inputs, list => {
      for (const [index, hashes] of grow(list).completed.entries()) {
        const end = index + 1
        expect(end % 2 ** (hashes.length - 1)).toBe(0)
        expect(end % 2 ** hashes.length).not.toBe(0)
        const expected = hashes.map((_, level) => toHex(mth(list.slice(end - 2 ** level, end))))
        expect(hashes.map(toHex)).toEqual(expected)
      }
    }),
  )
})

test('the frontier is rebuilt from what was kept beside the leaves', () => {
  fc.assert(
    fc.property(inputs, list => {
      const { tree, completed } = grow(list)
      const hashes = frontierPlaces(list.length).map(({ seq, level }) => completed[seq - 1]?.[level])
      expect({ size: list.length, hashes }).toEqual(tree)
    }),
  )
})

test.each([
  [0, ''],
  [1, '1@0'],
  [6, '4@2 6@1'],
  [7, '4@2 6@1 7@0'],
  [2 ** 40 + 1, '1099511627776@40 1099511627777@0'],
])('the frontier of %i leaves stands, as leaf@level, at %s', (size, places) => {
  expect(
    frontierPlaces(size)
      .map(({ seq, level }) => `${seq}@${level}`)
      .join(' '),
  ).toBe(places)
})

test('appending leaves the tree before it as it was', () => {
  const { tree } = grow(leaves.slice(0, 3))
  const before = toHex(root(tree))
  append(tree, leafHash('x'))
  expect(toHex(root(tree))).toBe(before)
})
