/**
 * Owns what an admin may send about a token, as schemas. They are functions, as building one takes time, and start-up has no use
 * for it. Never keeps anything.
 */
import * as z from 'zod/mini'
import { holdsToken } from '../auth/token.ts'
import { dateTime } from '../update/connection-version.ts'
import { writableFields } from '../update/writable.ts'
import { lastInstantMs } from './tokens.ts'

const maxGraceSeconds = 7 * 86_400

/** Without a token of the gateway: what is named stands in the log, which must not hold a secret. */
export function tokenless() {
  return z.refine<string>(text => !holdsToken(text), 'must not hold a token of the gateway')
}

/** A name that a person gives. */
export function printable() {
  return z.string().check(
    z.minLength(1),
    z.maxLength(100),
    z.refine(
      text => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(text),
      'must not hold control or format characters',
    ),
    tokenless(),
  )
}

/** When what an admin sets ends; null for never. That it lies in the future is for who has a clock. */
export function expiry() {
  const representable = (text: string) => !(Date.parse(text) > lastInstantMs)
  return z.optional(
    z.nullable(dateTime.check(z.refine(representable, 'must lie before the year 10000 in UTC'))),
  )
}

/** Some of a few words, each once; all of them where it is left out. */
function someOf<const T extends readonly string[]>(words: T) {
  return z._default(
    z.array(z.enum(words)).check(
      z.minLength(1),
      z.refine(list => new Set(list).size === list.length, 'must name nothing twice'),
    ),
    [...words],
  )
}

/** Patterns over version names; see matchesVersion. */
export function versionPatterns() {
  return z
    .array(
      z.string().check(
        z.refine(text => text.length >= 1 && [...text].length <= 255, 'must have 1 to 255 characters'),
        z.refine(
          text => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}/\\%?#;]/u.test(text),
          'holds what no version name may hold',
        ),
        z.refine(text => text.normalize('NFC') === text, 'must be in Unicode normalisation form C'),
        tokenless(),
      ),
    )
    .check(z.minLength(1), z.maxLength(100))
}

/** The body of `POST …/tokens`. */
export function newToken() {
  return z.strictObject({
    name: printable(),
    connections: z
      .array(z.string().check(z.regex(/^(\*|[A-Za-z0-9_-]{1,64})$/, 'must be * or the id of a connection')))
      .check(z.minLength(1), z.maxLength(100)),
    actions: someOf(['read', 'update']),
    fields: someOf(writableFields),
    versions: z._default(versionPatterns(), ['*']),
    expiresAt: expiry(),
    rateLimit: z._default(
      z.strictObject({
        requests: z.int().check(z.gte(1), z.lte(100_000)),
        windowSeconds: z.int().check(z.gte(1), z.lte(86_400)),
      }),
      { requests: 60, windowSeconds: 60 },
    ),
  })
}

export type NewToken = z.infer<ReturnType<typeof newToken>>

/** The body of `POST …/tokens/{id}/rotate`. */
export function rotation() {
  return z.strictObject({
    graceSeconds: z._default(z.int().check(z.gte(0), z.lte(maxGraceSeconds)), 0),
  })
}
