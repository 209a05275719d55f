/** Owns what an admin may send about a session, as a schema that is built when it is called for. Never keeps anything. */
import * as z from 'zod/mini'
import { platformId, versionName } from '../update/connection-version.ts'
import { expiry, printable, tokenless } from './new-token.ts'
import { hasNamesAndValues, isCookieHeader, maxHeaderLength } from './session.ts'

/** The body of `PUT …/session`: a bare value or a whole header, never guessed from one another. */
export function newSession() {
  return z
    .strictObject({
      cookie: z.optional(
        z.string().check(
          z.minLength(1),
          z.maxLength(maxHeaderLength),
          z.regex(
            /^[\x21-\x3a\x3c-\x7e]*$/,
            'must be the bare value of the cookie named cookie, without ; or space; for a whole header use cookieHeader',
          ),
          z.refine(
            text => !text.startsWith('cookie='),
            'must be the value alone, without cookie= in front; for a whole header use cookieHeader',
          ),
        ),
      ),
      cookieHeader: z.optional(
        z.string().check(
          z.minLength(1),
          // What is too long is not taken apart.
          z.maxLength(maxHeaderLength, { abort: true }),
          z.refine(isCookieHeader, {
            error:
              'must be name=value pairs separated by "; ", as in a Cookie header, without the word Cookie:',
            abort: true,
          }),
          z.refine(
            hasNamesAndValues,
            'must have values, and names of at most 64 characters; for a bare value use cookie',
          ),
        ),
      ),
      probe: z.optional(
        z.strictObject({ connectionId: platformId, version: versionName.check(tokenless()) }),
      ),
      owner: z.optional(printable()),
      expiresAt: expiry(),
    })
    .check(
      z.refine(
        body => (body.cookie === undefined) !== (body.cookieHeader === undefined),
        'exactly one of cookie and cookieHeader is needed',
      ),
    )
}

export type NewSession = z.infer<ReturnType<typeof newSession>>
