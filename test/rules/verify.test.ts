/**
 * Checks the offline verifier over logs made here: what it names where a log was changed in each way, with and without
 * leaves to tell which record it was, and its exit codes as a program.
 */
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { SigningKey } from '../../src/crypto.ts'
import { checkpoint, verifierKey } from '../../src/organisation/checkpoint.ts'
import { consistencyProof, inclusionProof } from '../../src/organisation/tree.ts'
import { answer } from '../../src/verify/command.ts'
import { confirmedLeaves, leavesOf, parseReceipts } from '../../src/verify/leaves.ts'
import { lineBatches } from '../../src/verify/lines.ts'
import { type Evidence, examine } from '../../src/verify/log.ts'
import { leafHash, Tree } from '../../src/verify/merkle.ts'
import type { Checkpoint } from '../../src/verify/note.ts'

const recordOf = (seq: number, what = 'a thing') => `{"seq":${seq},"event":"x","of":"${what} — ${seq}"}`
const log = Array.from({ length: 20 }, (_, i) => recordOf(i + 1))
const textOf = (lines: string[]) => lines.map(line => `${line}\n`).join('')
const leaf = (line: string) => leafHash(Buffer.from(line))

function treeOf(lines: string[]): Tree {
  const tree = new Tree()
  for (const line of lines) tree.add(leaf(line))
  return tree
}
const at = (size: number, lines = log): Checkpoint => ({
  origin: 'h/o/ORG',
  size,
  root: treeOf(lines.slice(0, size)).root,
  signer: 'h+00000000',
})

/** The text in chunks of a few bytes, so that lines are cut anywhere. */
async function* chunksOf(text: string, size = 7): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size)
}
async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}
const look = (lines: string[] | string, evidence: Partial<Evidence> = {}) =>
  examine(chunksOf(typeof lines === 'string' ? lines : textOf(lines)), { checkpoints: [at(20)], ...evidence })
const withLeaves = () => ({ leaves: each(log.map(leaf)) })

test('a log that is what was signed', async () => {
  expect(await look(log)).toEqual({ records: 20, covered: 20, finding: undefined })
  expect(await look(log, withLeaves())).toEqual({ records: 20, covered: 20, finding: undefined })
  // An editor may take away the last line feed, which is no part of a record.
  expect(await look(textOf(log).trimEnd())).toEqual({ records: 20, covered: 20, finding: undefined })
  const several = { checkpoints: [at(20), at(0), at(13), at(13)] }
  expect(await look(log, several)).toEqual({ records: 20, covered: 20, finding: undefined })
  expect(await look(log, { checkpoints: [at(13)] })).toEqual({ records: 20, covered: 13, finding: undefined })
  expect(await look('', { checkpoints: [at(0)] })).toEqual({ records: 0, covered: 0, finding: undefined })
})

const forged = recordOf(7, 'another thing')
const moved = (from: number, to: number) => {
  const rest = log.toSpliced(from - 1, 1)
  return rest.toSpliced(to - 1, 0, log[from - 1] as string)
}
const swapped = log.with(2, log[6] as string).with(6, log[2] as string)

/** What is named with leaves, and what without. */
const tampered: [what: string, lines: string[] | string, withLeaves: string, without?: string][] = [
  [
    'a changed record',
    log.with(6, forged),
    'record 7 was changed (line 7): its bytes do not hash to a leaf that a checkpoint confirms',
    'one or more of the records 1 to 20 were changed: together they do not hash to the root in the checkpoint of 20 records; --leaves (GET …/audit/leaves), --receipts or a checkpoint in between would tell which',
  ],
  [
    'one byte',
    textOf(log).replace('— 7"', '— 8"'),
    'record 7 was changed (line 7)',
    'one or more of the records 1 to 20 were changed',
  ],
  [
    'the last record',
    log.with(19, recordOf(20, 'x')),
    'record 20 was changed (line 20)',
    'one or more of the records',
  ],
  ['a changed number', log.with(6, recordOf(9)), 'record 7 was changed (line 7)'],
  ['a changed last number', log.with(19, recordOf(2)), 'record 20 was changed'],
  [
    'an old record at the end',
    [...log, recordOf(2)],
    'a record was inserted before record 21: line 21 holds record 2 again',
  ],
  ['what is no record', log.with(6, 'x'), 'record 7 was changed (line 7)'],
  ['an emptied line', log.with(6, ''), 'record 7 was changed (line 7)'],
  ['a removed record', log.toSpliced(6, 1), 'record 7 was removed: line 7 holds record 8'],
  ['a removed first record', log.toSpliced(0, 1), 'record 1 was removed: line 1 holds record 2'],
  ['removed records', log.toSpliced(6, 3), 'records 7 to 9 were removed: line 7 holds record 10'],
  ['a removed last but one', log.toSpliced(18, 1), 'record 19 was removed: line 19 holds record 20'],
  [
    'an inserted record',
    log.toSpliced(6, 0, forged),
    'a record was inserted before record 7: line 7 is one too many',
    'a record was inserted before record 8: line 8 is one too many',
  ],
  [
    'a record twice',
    log.toSpliced(7, 0, log[6] as string),
    'a record was inserted before record 8: line 8 is one too many',
  ],
  [
    'an old record again',
    log.toSpliced(12, 0, log[3] as string),
    'a record was inserted before record 13: line 13 is one too many',
  ],
  [
    'a later record early, and in its place too',
    log.toSpliced(4, 0, log[7] as string),
    'a record was inserted before record 5: line 5 is one too many',
  ],
  [
    'the next record early, and in its place too',
    log.toSpliced(4, 0, log[5] as string),
    'a record was inserted before record 5: line 5 is one too many',
  ],
  [
    'the last record early, and in its place too',
    log.toSpliced(18, 0, log[19] as string),
    'a record was inserted before record 19: line 19 is one too many',
  ],
  [
    'two later records early, and in their places too',
    log.toSpliced(4, 0, log[7] as string, log[8] as string),
    'a record was inserted before record 5: line 5 is one too many',
  ],
  [
    'an inserted record with a number that the log does not have',
    log.toSpliced(4, 0, recordOf(99)),
    'a record was inserted before record 5: line 5 is one too many',
  ],
  ['an inserted empty line', log.toSpliced(6, 0, ''), 'a record was inserted before record 7'],
  [
    'two inserted records',
    log.toSpliced(6, 0, log[0] as string, log[1] as string),
    'a record was inserted before record 7: line 7 holds record 1 again',
  ],
  [
    'two records, swapped',
    swapped,
    'record 3 was swapped: it stands in line 7, and in line 3 stands record 7',
  ],
  [
    'neighbours, swapped',
    moved(3, 4),
    'record 3 was swapped: it stands in line 4, and in line 3 stands record 4',
  ],
  [
    'the last neighbours, swapped',
    moved(19, 20),
    'record 19 was swapped: it stands in line 20, and in line 19 stands record 20',
  ],
  [
    'a record moved forward',
    moved(8, 5),
    'record 5 was swapped: it stands in line 6, and in line 5 stands record 8',
  ],
  ['a record moved to the end', moved(3, 20), 'record 3 was swapped: it stands in line 20'],
  [
    'two records, swapped and renumbered',
    log.with(2, recordOf(3, 'a thing — 7')),
    'record 3 was changed',
    'one or more',
  ],
  ['a cut tail', log.slice(0, 15), 'records 16 to 20 were cut off: the file ends with record 15'],
  ['a cut last record', log.slice(0, 19), 'record 20 was cut off: the file ends with record 19'],
  [
    'a cut in the middle of a line',
    textOf(log).slice(0, -9),
    'record 20 was cut off: the file ends in the middle of line 20',
    'one or more of the records 1 to 20 were changed',
  ],
  ['nothing', '', 'records 1 to 20 were cut off: the file ends with record 0'],
  [
    'a rewritten log',
    log.map((_, i) => recordOf(i + 1, 'new')),
    'record 1 was changed (line 1)',
    'one or more of the records 1 to 20',
  ],
]

describe.each(tampered)('%s', (_, lines, expected, without = expected) => {
  test('is named by leaves', async () => {
    const { finding } = await look(lines, withLeaves())
    expect(finding?.slice(0, expected.length)).toBe(expected)
  })
  test('is found without', async () => {
    expect((await look(lines)).finding?.slice(0, without.length)).toBe(without)
  })
})

describe('without leaves, a changed record lies', () => {
  const lines = log.with(6, forged)
  test('between the checkpoints around it', async () => {
    const found = await look(lines, { checkpoints: [at(20), at(12), at(5), at(6), at(3)] })
    expect(found.covered).toBe(6)
    expect(found.finding).toMatch(/^one or more of the records 7 to 12 were changed/)
    const next = await look(lines, { checkpoints: [at(6), at(7)] })
    expect(next.finding).toMatch(/^record 7 was changed: together/)
  })
  test('where a receipt says so', async () => {
    const receipts = new Map([7, 2, 11].map(seq => [seq, leaf(log[seq - 1] as string).toString('hex')]))
    const found = await look(lines, { receipts })
    expect(found.finding).toBe('record 7 was changed (line 7): its bytes do not hash to its receipt')
    const cut = await look(log.slice(0, 5), { checkpoints: [at(4)], receipts })
    expect(cut.finding).toMatch(/^records 6 to 11 were cut off: the file ends with record 5;/)
    expect((await look(log, { receipts })).finding).toBeUndefined()
  })
})

test('two checkpoints of one size that differ cannot both hold', async () => {
  const other = at(
    20,
    log.map((_, i) => recordOf(i + 1, 'new')),
  )
  expect((await look(log, { checkpoints: [at(20), other] })).finding).toMatch(/^one or more/)
})

test('whichever bit of whichever record is turned, the record is named', async () => {
  const position = fc
    .integer({ min: 0, max: log.length - 1 })
    .chain(index =>
      fc.tuple(fc.constant(index), fc.nat(Buffer.byteLength(log[index] as string) - 1), fc.nat(7)),
    )
  await fc.assert(
    fc.asyncProperty(position, fc.integer({ min: 1, max: 64 }), async ([index, byte, bit], size) => {
      const lines = log.map(line => Buffer.from(line))
      const changed = lines[index] as Buffer
      changed[byte] = (changed[byte] as number) ^ (1 << bit)
      // A line feed more is another line, not another record.
      fc.pre(changed[byte] !== 10)
      const bytes = Buffer.concat(lines.flatMap(line => [line, Buffer.from('\n')]))
      async function* chunks() {
        for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size)
      }
      const { finding } = await examine(chunks(), { checkpoints: [at(20)], ...withLeaves() })
      expect(finding).toMatch(new RegExp(`^record ${index + 1} was changed`))
    }),
  )
})

test('lines are cut at line feeds alone, wherever the chunks end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: 'binary', maxLength: 20 })),
      fc.integer({ min: 1, max: 9 }),
      async (parts, size) => {
        const text = parts.join('\n')
        const found: string[] = []
        for await (const { lines } of lineBatches(chunksOf(text, size))) {
          found.push(...lines.map(line => line.toString('utf8')))
        }
        const expected = Buffer.from(text).toString('utf8').split('\n')
        if (expected.at(-1) === '') expected.pop()
        expect(found).toEqual(expected)
      },
    ),
  )
})

test('a line without an end is not kept', async () => {
  let sent = 0
  async function* endless() {
    for (;;) {
      sent += 1 << 20
      yield Buffer.alloc(1 << 20, 'x')
    }
  }
  const { finding } = await examine(endless(), { checkpoints: [at(20)] })
  expect(finding).toMatch(/^record 1 was cut off/)
  expect(sent).toBeLessThan(10 << 20)
})

describe('leaves', () => {
  const list = log.map((line, i) => `${i + 1}:${leaf(line).toString('hex')}`)
  const confirmed = (lines: string[], checkpoints = [at(20)]) =>
    confirmedLeaves(leavesOf(chunksOf(textOf(lines))), checkpoints)

  test('are confirmed up to the largest checkpoint that they hash to', async () => {
    expect(await confirmed(list)).toBe(20)
    expect(await confirmed(list, [at(5), at(13)])).toBe(13)
    expect(await confirmed(list.slice(0, 15), [at(13), at(20)])).toBe(13)
    expect(await confirmed(list.with(14, list[13] as string), [at(13), at(20)])).toBe(13)
    expect(await confirmed(list.with(14, `15:${'0'.repeat(64)}`), [at(13), at(20)])).toBe(13)
    expect(await confirmed(list.with(1, `2:${'0'.repeat(64)}`), [at(13), at(20)])).toBe(0)
    expect(await confirmed(list.slice(1))).toBe(0)
    expect(await confirmed([])).toBe(0)
  })

  test('of receipts come in any order, as they were copied', () => {
    const text = `Audit-Receipt: ${list[4]}\n\n  ${list[1]}\r\naudit-receipt:${list[9]}`
    const parsed = parseReceipts(`${text}\n${list[1]}`)
    expect([...(parsed?.byNumber.keys() ?? [])]).toEqual([5, 2, 10])
    expect(parsed?.forkedAt).toBeUndefined()
    for (const wrong of ['x', '1:ab', `0:${'0'.repeat(64)}`, `1:${'A'.repeat(64)}`, `1:${'0'.repeat(65)}`]) {
      expect(parseReceipts(`${list[0]}\n${wrong}`)).toBeUndefined()
    }
  })
})

describe('as a program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'verify-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const save = (name: string, content: string | object) => {
    const path = join(folder, name)
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
    return path
  }
  const run = (...args: string[]) => answer(args, () => {})

  const key = new SigningKey(
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' }),
  )
  const nodeAt = (seq: number, level: number) => treeOf(log.slice(seq - 2 ** level, seq)).root
  const noteOf = (size: number, organisationId = 'ORG', lines = log, signer = key) =>
    checkpoint({ host: 'h', organisationId }, size, at(size, lines).root, signer)
  const other = log.map((_, i) => recordOf(i + 1, 'new'))
  const files = {
    key: save('key', `${verifierKey('h', key.publicKey)}\n`),
    export: save('export.ndjson', textOf(log)),
    changed: save('changed.ndjson', textOf(log.with(6, forged))),
    leaves: save('leaves', textOf(log.map((line, i) => `${i + 1}:${leaf(line).toString('hex')}`))),
    newLeaves: save('new-leaves', textOf(other.map((line, i) => `${i + 1}:${leaf(line).toString('hex')}`))),
    receipts: save('receipts', `7:${hex(leaf(log[6] as string))}\n`),
    // The export agrees with one of the two alone, or with neither.
    split: save('split', `7:${hex(leaf(log[6] as string))}\n7:${hex(leaf(forged))}\n`),
    splitAgain: save('split-again', `7:${hex(leaf(forged))}\n7:${hex(leaf(log[6] as string))}\n`),
    splitElsewhere: save('split-elsewhere', `21:${'0'.repeat(64)}\n21:${'1'.repeat(64)}\n`),
    c20: save('c20', noteOf(20)),
    c13: save('c13', noteOf(13)),
    fork: save('fork', noteOf(13, 'ORG', other)),
    foreign: save('foreign', noteOf(13, 'OTHER')),
    forgedNote: save('forged', noteOf(20, 'ORG', log, peerKey())),
    proof: save('proof.json', { from: 13, to: 20, proof: consistencyProof(nodeAt, 13, 20).map(hex) }),
    receipt: save('receipt.json', {
      record: log[4],
      leaf: leaf(log[4] as string).toString('hex'),
      proof: inclusionProof(nodeAt, 5, 13).map(hex),
      checkpoint: noteOf(13),
    }),
    text: save('text', 'not JSON'),
  }
  function hex(hash: Uint8Array) {
    return Buffer.from(hash).toString('hex')
  }
  function peerKey() {
    return new SigningKey(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' }))
  }
  const f = files
  const k = ['--key', f.key]

  test.each<[code: number, says: RegExp, args: string[]]>([
    [
      0,
      /^OK {6}20 records are the log h\/o\/ORG, signed by h\+[0-9a-f]{8}\n$/,
      [f.export, '--checkpoint', f.c20, ...k],
    ],
    [
      0,
      /^OK {6}20 records/,
      [
        f.export,
        '--checkpoint',
        f.c20,
        '--checkpoint',
        f.c13,
        '--leaves',
        f.leaves,
        '--receipts',
        f.receipts,
        '--whole',
        ...k,
      ],
    ],
    [0, /^OK {6}13 .*\nNOTE {4}records 14 to 20 are newer/, [f.export, '--checkpoint', f.c13, ...k]],
    [
      1,
      /^OK {6}13 .*\nFAILED {2}records 14 to 20 are newer/,
      [f.export, '--checkpoint', f.c13, '--whole', ...k],
    ],
    [1, /^FAILED {2}one or more of the records 1 to 20/, [f.changed, '--checkpoint', f.c20, ...k]],
    [1, /^FAILED {2}record 7 was changed/, [f.changed, '--checkpoint', f.c20, '--leaves', f.leaves, ...k]],
    [
      1,
      /^FAILED {2}record 7 was changed .* its receipt/,
      [f.changed, '--checkpoint', f.c20, '--receipts', f.receipts, ...k],
    ],
    ...[f.split, f.splitAgain].flatMap(receipts =>
      [[f.export, '--leaves', f.leaves], [f.export], [f.changed]].map((rest): [number, RegExp, string[]] => [
        1,
        /^FAILED {2}the log was forked: .*split(-again)? has two receipts of record 7 that differ\n$/,
        [...rest, '--checkpoint', f.c20, '--receipts', receipts, ...k],
      ]),
    ),
    [
      1,
      /^FAILED {2}the log was forked: .* of record 21 that differ\n$/,
      [f.export, '--checkpoint', f.c20, '--receipts', f.splitElsewhere, ...k],
    ],
    [
      1,
      /^FAILED {2}.*new-leaves does not hash to the root/,
      [f.export, '--checkpoint', f.c20, '--leaves', f.newLeaves, ...k],
    ],
    [1, /^FAILED {2}.*forged is signed by none of the keys/, [f.export, '--checkpoint', f.forgedNote, ...k]],
    [1, /^FAILED {2}.*text is not a signed note/, [f.export, '--checkpoint', f.text, ...k]],
    [
      1,
      /^FAILED {2}.*is of h\/o\/ORG, .*foreign of h\/o\/OTHER/,
      [f.export, '--checkpoint', f.c20, '--checkpoint', f.foreign, ...k],
    ],
    [1, /^FAILED {2}the log was forked/, [f.export, '--checkpoint', f.c13, '--checkpoint', f.fork, ...k]],
    [
      0,
      /^OK {6}the log h\/o\/ORG of 20 records begins with the one of 13/,
      ['--checkpoint', f.c20, '--extends', f.c13, '--consistency', f.proof, ...k],
    ],
    [
      1,
      /^FAILED {2}the log of 20 records is not proven/,
      ['--checkpoint', f.c20, '--extends', f.fork, '--consistency', f.proof, ...k],
    ],
    [
      1,
      /^FAILED {2}the consistency proof is not from 20 to 13/,
      ['--checkpoint', f.c13, '--extends', f.c20, '--consistency', f.proof, ...k],
    ],
    [
      1,
      /^FAILED {2}the consistency proof does not have/,
      ['--checkpoint', f.c20, '--extends', f.c13, '--consistency', f.text, ...k],
    ],
    [0, /^OK {6}20 records/, [f.export, '--checkpoint', f.c20, '--extends', f.c13, ...k]],
    [0, /^OK {6}record 5 is in the log h\/o\/ORG of 13 records/, ['--receipt', f.receipt, ...k]],
    [1, /^FAILED {2}the receipt does not have/, ['--receipt', f.proof, ...k]],
    [1, /^FAILED {2}the receipt does not have/, ['--receipt', f.text, ...k]],
    [2, /^$/, []],
    [2, /^$/, [f.export, '--checkpoint', f.c20]],
    [2, /^$/, [f.export, ...k]],
    [2, /^$/, [f.export, f.changed, '--checkpoint', f.c20, ...k]],
    [2, /^$/, ['--checkpoint', f.c20, ...k]],
    [2, /^$/, ['--checkpoint', f.c20, '--extends', f.c13, ...k]],
    [2, /^$/, [f.export, '--checkpoint', f.c20, '--consistency', f.proof, ...k]],
    [2, /^$/, ['--receipt', f.receipt, '--checkpoint', f.c20, ...k]],
    [2, /^$/, ['--receipt', f.receipt, '--whole', ...k]],
    [
      2,
      /^$/,
      ['--checkpoint', f.c20, '--extends', f.c13, '--consistency', f.proof, '--leaves', f.leaves, ...k],
    ],
    [2, /^$/, [f.export, '--checkpoint', f.c20, '--key', f.c20]],
    [2, /^$/, [f.export, '--checkpoint', f.c20, '--receipts', f.text, ...k]],
    [
      2,
      /^--receipts is given more than once$/,
      [f.export, '--checkpoint', f.c20, '--receipts', f.receipts, '--receipts', f.receipts, ...k],
    ],
    [2, /^$/, ['/nowhere', '--checkpoint', f.c20, ...k]],
    [2, /^$/, [f.export, '--checkpoint', '/nowhere', ...k]],
    [2, /^$/, [f.export, '--checkpoint', f.c20, '--leaves', '/nowhere', ...k]],
    [2, /^$/, [f.export, '--checkpoint', f.c20, '--unknown', ...k]],
  ])('exits with %i and says %s', async (code, says, args) => {
    const { code: exited, lines } = await run(...args)
    expect([exited, textOf(lines)]).toEqual([code, expect.stringMatching(code === 2 ? /\nUsage: / : says)])
  })

  test('prints its verdict, and its usage as an error', () => {
    const main = join(import.meta.dirname, '../../src/verify/main.ts')
    const start = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })
    const good = start(f.export, '--checkpoint', f.c20, ...k)
    expect([good.status, good.stderr]).toEqual([0, ''])
    expect(good.stdout).toMatch(/^OK {6}20 records are the log h\/o\/ORG, signed by h\+[0-9a-f]{8}\n$/)
    expect(start(f.changed, '--checkpoint', f.c20, ...k).status).toBe(1)
    const wrong = start('--unknown')
    expect([wrong.status, wrong.stdout]).toEqual([2, ''])
    expect(wrong.stderr).toContain('Usage: npm run audit:verify')
  })

  test('tells how far it is in a long file', async () => {
    const long = Array.from({ length: 120_000 }, (_, i) => `{"seq":${i + 1},}`)
    const told: string[] = []
    const path = save('long.ndjson', textOf(long))
    const { code, lines } = await answer([path, '--checkpoint', save('empty', noteOf(0)), ...k], line => {
      told.push(line)
    })
    expect([code, lines[1]]).toEqual([
      0,
      'NOTE    records 1 to 120000 are newer than the last checkpoint, and covered by nothing',
    ])
    expect(told).toEqual([expect.stringMatching(/^1[012]\d{4} records, \d+ %$/)])
  })
})
