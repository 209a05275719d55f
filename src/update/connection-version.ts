/**
 * Owns what an update may say: the names of a path and the platform's ConnectionVersion, as zod schemas, and
 * the one string that an update is serialised to. Never reads a request.
 */
import * as z from 'zod/mini'
import { sha256Hex } from '../crypto.ts'
import type { FieldError } from '../errors.ts'

// zod/mini brings no words of its own; without these every message is "Invalid input".
z.config({ localeError: complaint })

/** Ids of the platform (ULIDs in practice) as they may stand in a path. */
export const platformId = z
  .string()
  .check(z.regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 _ -'))

/**
 * The name of a version as it may stand in a path. Each rule keeps the path that is built from it the path that
 * the caller sees: nothing invisible, no second spelling (NFC), no separator and nothing that decodes again.
 */
export const versionName = z.string().check(
  z.refine(text => text.length >= 1 && [...text].length <= 255, 'must have 1 to 255 characters'),
  z.refine(text => text.isWellFormed(), 'must not hold a lone surrogate'),
  z.refine(
    text => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text),
    'must not hold control, format or line separator characters',
  ),
  z.refine(text => !/[/\\%?#;]/.test(text), 'must not hold any of / \\ % ? # ;'),
  z.refine(text => text.trim() === text, 'must not begin or end with a space'),
  z.refine(text => text.normalize('NFC') === text, 'must be in Unicode normalisation form C'),
  z.refine(text => text !== '.' && text !== '..', 'must not be a dot segment'),
)

const ownName = versionName.check(
  z.refine(
    text => text !== 'default' && text !== 'latest',
    'must not be default or latest, which are reserved',
  ),
)

const text = z.string().check(
  z.refine(value => !value.includes('\0'), 'must not hold NUL'),
  z.refine(value => value.isWellFormed(), 'must not hold a lone surrogate'),
)

/** RFC 3339, section 5.6, with an offset. Leap seconds are refused, as Go's time package refuses them. */
export const dateTime = z.iso.datetime({
  offset: true,
  error: 'must be an RFC 3339 date-time with an offset',
})

/** The platform's ConnectionVersion (Connect API v1alpha1). Strict: an unknown key would otherwise be dropped without a word. */
export const connectionVersion = z.strictObject({
  id: text.check(z.minLength(1)),
  name: ownName,
  description: z.optional(text),
  isLatest: z.boolean(),
  isDefault: z.boolean(),
  createdAt: dateTime,
  updatedAt: dateTime,
  publishedAt: z.nullable(dateTime),
})

export type ConnectionVersion = z.infer<typeof connectionVersion>

/** An update as it was validated, is recorded and will be sent: one string and its digest. */
export interface Update {
  body: string
  sha256: string
  bytes: number
  /** The version's name in the body, which the token's scope must cover too. */
  name: string
}

/** Serialises once, in the order of the schema: what was validated is what is recorded is what is sent. */
export function serialise(version: ConnectionVersion): Update {
  const body = JSON.stringify(version)
  return { body, sha256: sha256Hex(body), bytes: Buffer.byteLength(body), name: version.name }
}

/** What a value must be, of those checks that have no words of their own. Never repeats the value. */
function complaint(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'must be given' : `must be of type ${issue.expected}`
    case 'invalid_value':
      return `must be one of ${issue.values.join(', ')}`
    case 'too_small':
      return `must be at least ${issue.minimum}${sizes[issue.origin] ?? ''}`
    case 'too_big':
      return `must be at most ${issue.maximum}${sizes[issue.origin] ?? ''}`
    default:
      return 'is not acceptable'
  }
}

const sizes: Record<string, string> = { string: ' characters long', array: ' items long' }

const maxFields = 100
const maxFieldLength = 200

/**
 * Every complaint of zod as `{ field, message }`, at most 100; an unknown key is named as a field of its own, cut
 * at 200 characters. Messages say what was expected and never repeat a value.
 */
export function fieldErrors(error: z.core.$ZodError): FieldError[] {
  const errors = error.issues.flatMap(issue => {
    const path = pathOf(issue.path)
    if (issue.code !== 'unrecognized_keys') return [{ field: path || 'body', message: issue.message }]
    return issue.keys.map(key => ({ field: path ? `${path}.${key}` : key, message: 'is not a known field' }))
  })
  return errors
    .slice(0, maxFields)
    .map(({ field, message }) => ({ field: field.slice(0, maxFieldLength).toWellFormed(), message }))
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text ? `${text}.${String(key)}` : String(key)
  }, '')
}
