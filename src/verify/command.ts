/**
 * Owns what the verifier can be asked and what it answers: arguments in, lines and an exit code out. Reads the files that it is
 * given, and nothing else.
 */
import { createReadStream, readFileSync, statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { confirmedLeaves, leavesOf, parseReceipts } from './leaves.ts'
import { examine } from './log.ts'
import { type Checkpoint, openCheckpoint, parseKeys, type TrustedKey } from './note.ts'
import { type Checked, checkExtension, checkReceipt } from './proofs.ts'

const usage = `Usage: npm run audit:verify -- …

  EXPORT --checkpoint FILE --key FILE      every record of an export, against what was signed before it
      --checkpoint FILE                    again: checkpoints from other times
      --leaves FILE                        GET …/audit/leaves, to name the record that was changed
      --receipts FILE                      lines of Audit-Receipt, to the same end
      --whole                              nothing may be newer than the last checkpoint
  --receipt FILE --key FILE                a receipt document, on its own
  --checkpoint NEW --extends OLD --consistency FILE --key FILE
                                           that one checkpoint extends another, without an export

--key takes the lines of GET /audit/key; give it again for an older key. Exit code: 0 all of it holds, 1 something does
not, 2 it could not be tried.`

const progressEvery = 100_000

/** What was asked cannot be tried: exit code 2. */
class Unusable extends Error {}

export interface Answered {
  /** 0: all of it holds; 1: something does not; 2: it could not be tried. */
  code: 0 | 1 | 2
  lines: string[]
}

/** Does what the arguments ask for; `progress` hears a line now and then of a long file. */
export async function answer(args: string[], progress: (line: string) => void): Promise<Answered> {
  try {
    const lines = await verdicts(asked(args), progress)
    return { code: lines.some(line => line.startsWith('FAILED')) ? 1 : 0, lines }
  } catch (error) {
    // A file that cannot be read is no verdict on what it holds.
    const expected = error instanceof Unusable || (error as NodeJS.ErrnoException).code !== undefined
    if (!expected) throw error
    return { code: 2, lines: [(error as Error).message, '', usage] }
  }
}

interface Asked {
  exported: string | undefined
  keys: TrustedKey[]
  checkpoints: string[]
  older: string | undefined
  consistency: string | undefined
  receipt: string | undefined
  leaves: string | undefined
  receipts: string | undefined
  whole: boolean
}

function asked(args: string[]): Asked {
  const text = { type: 'string' } as const
  const many = { type: 'string', multiple: true, default: [] as string[] } as const
  const options = {
    key: many,
    checkpoint: many,
    extends: text,
    consistency: text,
    receipt: text,
    leaves: text,
    receipts: text,
    whole: { type: 'boolean', default: false },
  } as const
  try {
    const { values, positionals, tokens } = parseArgs({ args, options, allowPositionals: true, tokens: true })
    const once = tokens.flatMap(token =>
      token.kind === 'option' && !('multiple' in options[token.name]) ? [token.name] : [],
    )
    // Of two, only the last would be looked at, and the other's evidence lost.
    const twice = once.find((name, i) => once.indexOf(name) !== i)
    if (twice !== undefined) throw new Unusable(`--${twice} is given more than once`)
    if (positionals.length > 1) throw new Unusable('more than one export')
    const keys = values.key.flatMap(path => {
      const parsed = parseKeys(read(path).toString('utf8'))
      if (!parsed) throw new Unusable(`${path} is no verifier key: name+id+key`)
      return parsed
    })
    const { checkpoint: checkpoints, extends: older, ...rest } = values
    return { exported: positionals[0], keys, checkpoints, older, ...rest } as Asked
  } catch (error) {
    throw error instanceof Unusable ? error : new Unusable((error as Error).message)
  }
}

/** What is found, one line each; those that begin with FAILED make it fail. */
async function verdicts(of: Asked, progress: (line: string) => void): Promise<string[]> {
  if (of.keys.length === 0) throw new Unusable('no --key')
  const { exported, checkpoints: given, older: earlier, consistency: proof } = of
  if (of.receipt !== undefined) {
    const others = [exported, given[0], earlier, proof, of.leaves, of.receipts]
    if (of.whole || others.some(each => each !== undefined))
      throw new Unusable('--receipt goes with --key alone')
    return [inWords(checkReceipt(json(of.receipt), of.keys))]
  }
  const paths = earlier === undefined ? given : [...given, earlier]
  if (paths.length === 0) throw new Unusable('no --checkpoint')
  if (exported === undefined && (of.whole || of.leaves !== undefined || of.receipts !== undefined)) {
    throw new Unusable('--leaves, --receipts and --whole go with an export')
  }
  if (exported === undefined && (earlier === undefined || proof === undefined)) {
    throw new Unusable('neither an export, nor --extends and --consistency, nor --receipt')
  }
  const opened = paths.map(path => ({ path, ...openCheckpoint(read(path), of.keys) }))
  const disbelieved = opened.flatMap(each =>
    'problem' in each ? [`FAILED  ${each.path} ${each.problem}`] : [],
  )
  if (disbelieved.length > 0) return disbelieved
  const checkpoints = opened as (Checkpoint & { path: string })[]
  const split = disagreement(checkpoints)
  if (split !== undefined) return [`FAILED  ${split}`]

  const found: string[] = []
  if (proof !== undefined) {
    if (earlier === undefined || checkpoints.length !== 2) {
      throw new Unusable('--consistency goes with one --checkpoint and one --extends')
    }
    const [newer, older] = checkpoints as unknown as [Checkpoint, Checkpoint]
    found.push(inWords(checkExtension(older, newer, json(proof))))
  }
  if (exported !== undefined) found.push(...(await ofExport(exported, of, checkpoints, progress)))
  return found
}

/** Why checkpoints cannot be of one log, if so. */
function disagreement(checkpoints: readonly (Checkpoint & { path: string })[]): string | undefined {
  for (const one of checkpoints) {
    for (const other of checkpoints) {
      if (one.origin !== other.origin) {
        return `${one.path} is of ${one.origin}, ${other.path} of ${other.origin}`
      }
      if (one.size === other.size && !one.root.equals(other.root)) {
        return `the log was forked: ${one.path} and ${other.path} are both of ${one.size} records, and differ`
      }
    }
  }
  return undefined
}

async function ofExport(
  path: string,
  { leaves, receipts, whole }: Asked,
  checkpoints: readonly Checkpoint[],
  progress: (line: string) => void,
): Promise<string[]> {
  const found: string[] = []
  const evidence: Parameters<typeof examine>[1] = { checkpoints }
  if (receipts !== undefined) {
    const parsed = parseReceipts(read(receipts).toString('utf8'))
    if (!parsed) throw new Unusable(`${receipts} has a line that is no receipt: <number>:<hash>`)
    const { byNumber, forkedAt } = parsed
    if (forkedAt !== undefined) {
      return [`FAILED  the log was forked: ${receipts} has two receipts of record ${forkedAt} that differ`]
    }
    evidence.receipts = byNumber
  }
  if (leaves !== undefined) {
    const confirmed = await confirmedLeaves(leavesOf(open(leaves)), checkpoints)
    if (confirmed > 0) evidence.leaves = first(confirmed, leavesOf(open(leaves)))
    else found.push(`FAILED  ${leaves} does not hash to the root of any checkpoint: it was not used`)
  }
  const { size } = statSync(path)
  let told = 0
  const stream = open(path)
  const tell = (records: number) => {
    if (records - told < progressEvery) return
    told = records
    progress(`${records} records, ${Math.floor((100 * stream.bytesRead) / size)} %`)
  }
  const { records, covered, finding } = await examine(stream, evidence, tell)
  const [checkpoint] = checkpoints as [Checkpoint]
  if (finding !== undefined) {
    if (covered > 0) found.push(`OK      records 1 to ${covered} are what was signed`)
    found.push(`FAILED  ${finding}`)
    return found
  }
  const signers = [...new Set(checkpoints.map(({ signer }) => signer))].join(', ')
  found.push(`OK      ${covered} records are the log ${checkpoint.origin}, signed by ${signers}`)
  if (records > covered) {
    const newer =
      covered + 1 === records ? `record ${records} is` : `records ${covered + 1} to ${records} are`
    found.push(
      `${whole ? 'FAILED' : 'NOTE  '}  ${newer} newer than the last checkpoint, and covered by nothing`,
    )
  }
  return found
}

async function* first<T>(count: number, items: AsyncIterable<T>): AsyncGenerator<T, undefined> {
  let left = count
  for await (const item of items) {
    if (left-- === 0) return undefined
    yield item
  }
  return undefined
}

function inWords(checked: Checked): string {
  return 'holds' in checked ? `OK      ${checked.holds}` : `FAILED  ${checked.problem}`
}

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Unusable((error as Error).message)
  }
}

function open(path: string) {
  return createReadStream(path, { highWaterMark: 1 << 20 })
}

/** A document; where it is no JSON, it is one that proves nothing. */
function json(path: string): unknown {
  const text = read(path).toString('utf8')
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
