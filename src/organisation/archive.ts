/**
 * Owns what lies outside the object, in the archive: the newest checkpoint, every checkpoint that left, and finished segments
 * of the log. Writes nothing over but the newest checkpoint, and that only where it is still the one that was read. Never
 * decides what it means, and never waits longer than its time-out. Clock and bucket are passed in.
 */
import { sha256, sha256Hex, toHex } from '../crypto.ts'
import type { World } from './courier.ts'

/** What is needed of an R2 bucket. */
export type Bucket = Pick<R2Bucket, 'get' | 'head' | 'put'>

/** How many records a segment has: the leaves of a perfect subtree of level 8. */
export const segmentRecords = 256
export const segmentLevel = 8

/** The archive did not answer in time, failed, or does not hold what it should. */
export class ArchiveError extends Error {}

/** The newest checkpoint as the archive has it, and what makes sure that it is still that one. */
export interface Held {
  text: string
  etag: string
}

const absent = { etagDoesNotMatch: '*' }

export class Archive {
  readonly #bucket: Bucket
  readonly #sleep: World['sleep']
  readonly #timeoutMs: number

  /** `timeoutMs`: how long each call may take. */
  constructor(bucket: Bucket, sleep: World['sleep'], timeoutMs: number) {
    this.#bucket = bucket
    this.#sleep = sleep
    this.#timeoutMs = timeoutMs
  }

  /** The newest checkpoint, undefined where there is none. Throws ArchiveError. */
  async newest(organisationId: string): Promise<Held | undefined> {
    return this.#within(async () => {
      const object = await this.#bucket.get(newestKey(organisationId))
      return object ? { text: await object.text(), etag: object.etag } : undefined
    })
  }

  /**
   * Puts a checkpoint in the place of the newest, where that is the one with `etag`, or there is none; undefined where another
   * came between. Throws ArchiveError.
   */
  async putNewest(organisationId: string, text: string, etag: string | undefined): Promise<Held | undefined> {
    const onlyIf = etag === undefined ? absent : { etagMatches: etag }
    return this.#within(async () => {
      const object = await this.#bucket.put(newestKey(organisationId), text, { onlyIf })
      return object ? { text, etag: object.etag } : undefined
    })
  }

  /** Keeps a checkpoint for good. Throws ArchiveError. */
  async keepCheckpoint(organisationId: string, size: number, root: Uint8Array, text: string): Promise<void> {
    const key = `checkpoints/${organisationId}/${padded(size)}-${toHex(root)}`
    await this.#within(() => this.#bucket.put(key, text, { onlyIf: absent, ...plain }))
  }

  /** Keeps a segment for good; where there is one under its name already, it is the same. Throws ArchiveError. */
  async keepSegment(organisationId: string, segment: Segment): Promise<void> {
    const digest = sha256(segment.ndjson)
    const key = segmentKey(organisationId, segment)
    await this.#within(() => {
      return this.#bucket.put(key, segment.ndjson, { onlyIf: absent, sha256: digest, ...ndjson })
    })
  }

  /** Whether the archive holds exactly the bytes of a segment. Throws ArchiveError. */
  async holdsSegment(organisationId: string, segment: Segment): Promise<boolean> {
    const object = await this.#within(() => this.#bucket.head(segmentKey(organisationId, segment)))
    const stored = object?.checksums.sha256
    return stored !== undefined && toHex(new Uint8Array(stored)) === sha256Hex(segment.ndjson)
  }

  /** A segment's bytes. Throws ArchiveError where there is none. */
  async segment(organisationId: string, name: SegmentName): Promise<string> {
    return this.#within(async () => {
      const object = await this.#bucket.get(segmentKey(organisationId, name))
      if (!object) throw new ArchiveError('the archive does not hold this segment')
      return object.text()
    })
  }

  async #within<T>(work: () => Promise<T>): Promise<T> {
    const { done, cancel } = this.#sleep(this.#timeoutMs)
    const late = done.then(() => Promise.reject(new ArchiveError('the archive did not answer in time')))
    try {
      return await Promise.race([work(), late])
    } catch (error) {
      throw error instanceof ArchiveError ? error : new ArchiveError('the archive failed', { cause: error })
    } finally {
      cancel()
    }
  }
}

/** A segment goes by its first record and the hash of its subtree, so that logs that part never share one. */
export interface SegmentName {
  /** The number of its first record. */
  first: number
  node: Uint8Array
}

export interface Segment extends SegmentName {
  /** The exact bytes of its records, each with a line feed. */
  ndjson: string
}

const plain = { httpMetadata: { contentType: 'text/plain; charset=utf-8' } }
const ndjson = { httpMetadata: { contentType: 'application/x-ndjson' } }

/** The kind comes first, so that one lock rule of a bucket can hold for every organisation's segments. */
function newestKey(organisationId: string): string {
  return `newest/${organisationId}`
}

function segmentKey(organisationId: string, { first, node }: SegmentName): string {
  return `segments/${organisationId}/${padded(first)}-${toHex(node)}.ndjson`
}

/** Record numbers have at most 15 digits; with all of them, names sort as numbers. */
function padded(seq: number): string {
  return String(seq).padStart(15, '0')
}
