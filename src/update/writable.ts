/**
 * Owns the question whether an update took effect: compares what was sent with what the platform holds now, by the fields
 * that an update may change. Pure. What it says is what a read showed, at the instant of that read.
 */
import { sha256Hex } from '../crypto.ts'

/** The fields that an update may change. */
export const writableFields = ['name', 'description', 'isLatest', 'isDefault'] as const
export type WritableField = (typeof writableFields)[number]

/** What an update was meant to leave behind: which version, under which names, and a digest of its writable fields. */
export interface Intent {
  id: string
  /** Where to look: the name that it was to have, and the one in the path. */
  names: readonly string[]
  writable: string
}

/** The intent of a serialised update that was sent to `pathVersion`. */
export function intentOf(body: string, pathVersion: string): Intent {
  const version = JSON.parse(body)
  return {
    id: version.id,
    names: [...new Set<string>([version.name, pathVersion])],
    // Mostly nobody asks: the answer says what became of it.
    get writable() {
      return writableDigest(version)
    },
  }
}

/** Whether an answer shows the version that was to be updated, whatever it says of the update. */
export function isAbout(intent: Intent, answer: string): boolean {
  const version = JSON.parse(answer)
  return typeof version === 'object' && version?.id === intent.id
}

/**
 * What a version that was read says of an intent: it took effect, it did not, or (`other`) this is not the version that
 * was updated, as a name can move to a sibling meanwhile.
 */
export function compare(intent: Intent, answer: string): 'applied' | 'not-applied' | 'other' {
  const version = JSON.parse(answer)
  if (typeof version !== 'object' || version?.id !== intent.id) return 'other'
  return writableDigest(version) === intent.writable ? 'applied' : 'not-applied'
}

/** SHA-256, in hex, over the writable fields. An empty description is none: the platform leaves it out. */
function writableDigest(version: Record<string, unknown>): string {
  const { name, description = '', isLatest, isDefault } = version
  return sha256Hex(JSON.stringify([name, description, isLatest, isDefault]))
}
