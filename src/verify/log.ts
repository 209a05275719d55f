/**
 * Owns the check of an exported log, record by record, and the name of the first that is not what it was. Holds a bounded
 * part of it at a time. Never trusts what a record says of itself further than to name it.
 */
import { lineBatches } from './lines.ts'
import { leafHash, Tree } from './merkle.ts'
import type { Checkpoint } from './note.ts'

/** What a log is held against. */
export interface Evidence {
  /** Verified, of one log. */
  checkpoints: readonly Checkpoint[]
  /** The leaves of its records in order, of which only such are given as a checkpoint confirms. */
  leaves?: AsyncIterator<Buffer>
  /** Leaves by number, as callers were given them. */
  receipts?: ReadonlyMap<number, string>
}

export interface Examined {
  /** How many lines the log has. */
  records: number
  /** The size of the largest checkpoint that the log fulfils, where nothing is wrong. */
  covered: number
  /** What is wrong, first of all. */
  finding: string | undefined
}

/** A line that is not what should stand there. */
interface Deviation {
  /** The number of the line, which is that of the record that belongs there. */
  at: number
  /** The number of the record that stands there, NaN where there is none. */
  seq: number
  /** What tells that it is another; undefined where its number does. */
  witness: string | undefined
  /** It has no line feed: the file ends in it. */
  torn: boolean
  /** The number of the record in the next line. */
  next?: number
  /** Where the record that belongs here turned up. */
  foundAt?: number
  /** The record that stands there turned up once more. */
  again?: boolean
}

/** Checks a log against what is known of it. `progress` is called now and then, with how many records were read. */
export async function examine(
  chunks: AsyncIterable<Uint8Array>,
  { checkpoints, leaves, receipts = new Map() }: Evidence,
  progress: (records: number) => void = () => {},
): Promise<Examined> {
  const tree = new Tree()
  let line = 0
  let covered = 0
  let deviation: Deviation | undefined
  let forked: string | undefined
  /** Whether what was read so far is what each checkpoint of its size says. */
  const compare = () => {
    const here = checkpoints.filter(({ size }) => size === line)
    if (here.length === 0) return
    const { root } = tree
    if (here.every(checkpoint => checkpoint.root.equals(root))) covered = line
    else forked ??= unlocated(covered, line, leaves !== undefined)
  }
  compare()
  for await (const { lines, whole } of lineBatches(chunks)) {
    for (const bytes of lines) {
      line++
      const seq = numberOf(bytes)
      if (deviation) {
        deviation.next ??= seq
        if (seq === deviation.at) deviation.foundAt ??= line
        if (seq === deviation.seq) deviation.again = true
        continue
      }
      if (forked !== undefined) continue
      const leaf = leafHash(bytes)
      const known = (await leaves?.next())?.value
      const witness = witnessAgainst(leaf, known || undefined, receipts.get(line))
      if (witness !== undefined || seq !== line) {
        deviation = { at: line, seq, witness, torn: !whole }
        continue
      }
      tree.add(leaf)
      compare()
    }
    progress(line)
  }
  let promised = 0
  for (const seq of receipts.keys()) promised = Math.max(promised, seq)
  for (const { size } of checkpoints) promised = Math.max(promised, size)
  const finding =
    forked ??
    (deviation ? named(deviation, line, promised) : line < promised ? cutOff(line, promised) : undefined)
  return { records: line, covered, finding }
}

/** A record begins with its number; nothing else of it is read. */
function numberOf(line: Buffer): number {
  const [, seq] = /^\{"seq":([1-9]\d{0,14}),/.exec(line.toString('latin1', 0, 32)) ?? []
  return Number(seq)
}

function witnessAgainst(leaf: Buffer, known: Buffer | undefined, receipt: string | undefined) {
  if (known && !known.equals(leaf)) return 'a leaf that a checkpoint confirms'
  if (receipt !== undefined && receipt !== leaf.toString('hex')) return 'its receipt'
  return undefined
}

/**
 * The next line tells a change from a removal and from an insertion: after those, the numbers are shifted. A record that came too
 * early was swapped where it is gone from its own place, and inserted where it is not, or where the log has no such place.
 */
function named(
  { at, seq, witness, torn, next, foundAt, again }: Deviation,
  records: number,
  promised: number,
): string {
  const because = witness === undefined ? '' : `: its bytes do not hash to ${witness}`
  if (torn) return `record ${at} was cut off: the file ends in the middle of line ${at}`
  const inserted = next !== at + 1 && (again || seq > records)
  if (seq > at && foundAt !== undefined && !inserted) {
    return `record ${at} was swapped: it stands in line ${foundAt}, and in line ${at} stands record ${seq}`
  }
  if (next === at || (foundAt !== undefined && inserted))
    return `a record was inserted before record ${at}: line ${at} is one too many${because}`
  if (seq > at && next !== at + 1) {
    const gap = seq === at + 1 ? `record ${at} was` : `records ${at} to ${seq - 1} were`
    return `${gap} removed: line ${at} holds record ${seq}`
  }
  const surplus = next === undefined ? at > promised : next !== at + 1
  if (seq < at && surplus) {
    return `a record was inserted before record ${at}: line ${at} holds record ${seq} again`
  }
  return `record ${at} was changed (line ${at})${because || ': it does not begin with its number'}`
}

function cutOff(size: number, promised: number): string {
  const missing = promised === size + 1 ? `record ${promised} was` : `records ${size + 1} to ${promised} were`
  return `${missing} cut off: the file ends with record ${size}; an export from before what it is held against looks the same`
}

function unlocated(covered: number, size: number, haveLeaves: boolean): string {
  const of =
    size === covered + 1 ? `record ${size} was` : `one or more of the records ${covered + 1} to ${size} were`
  const hint = haveLeaves
    ? ''
    : '; --leaves (GET …/audit/leaves), --receipts or a checkpoint in between would tell which'
  return `${of} changed: together they do not hash to the root in the checkpoint of ${size} records${hint}`
}
