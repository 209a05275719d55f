/**
 * Owns what an admin may send about a hook, as schemas that are built when they are called for. What they cannot say of its
 * expressions is for hook-mapping.ts. Never keeps anything.
 */
import * as z from 'zod/mini'
import { platformId } from '../update/connection-version.ts'
import { isSecretFor, withheld } from './hooks.ts'
import { printable, versionPatterns } from './new-token.ts'

const maxSecretLength = 512
const minSecretLength = 16
const maxGraceSeconds = 7 * 86_400
const defaultGraceSeconds = 86_400

function secret() {
  return z.optional(
    z.string().check(
      z.minLength(minSecretLength),
      z.maxLength(maxSecretLength),
      z.refine(text => /^[\x20-\x7e]*$/.test(text), 'must be printable ASCII'),
    ),
  )
}

function standardSecret() {
  return z.optional(
    z
      .string()
      .check(
        z.refine(
          text => isSecretFor('standard-webhooks', text),
          'must be whsec_ and base64 of 24 to 64 bytes, or whpk_ and base64 of a public key',
        ),
      ),
  )
}

function verification() {
  return z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('standard-webhooks'), secret: standardSecret() }),
    z.strictObject({ type: z.literal('github'), secret: secret() }),
    z.strictObject({ type: z.literal('stripe'), secret: secret() }),
    z.strictObject({
      type: z.literal('hmac'),
      header: z.string().check(
        z.regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the name of a header'),
        z.refine(name => !withheld.test(name), 'must be a header that carries no credential and no address'),
      ),
      hash: z._default(z.enum(['SHA-256', 'SHA-384', 'SHA-512']), 'SHA-256'),
      encoding: z._default(z.enum(['hex', 'base64']), 'hex'),
      prefix: z._default(
        z.string().check(
          z.maxLength(32),
          z.refine(text => /^[\x21-\x7e]*$/.test(text), 'must be printable ASCII without space'),
        ),
        '',
      ),
      secret: secret(),
    }),
    z.strictObject({ type: z.literal('token') }),
  ])
}

function template() {
  return z.string().check(z.minLength(1), z.maxLength(4_096))
}
function change() {
  return z.record(z.string(), z.union([z.string().check(z.maxLength(4_096)), z.boolean(), z.null()]))
}

function definition() {
  return {
    name: printable(),
    connectionId: platformId,
    version: template(),
    versions: z.optional(versionPatterns()),
    when: z.optional(z.string().check(z.minLength(1), z.maxLength(2_048))),
    change: change(),
    onFailure: z._default(z.enum(['block', 'skip']), 'block'),
  }
}

/** The body of `POST …/hooks`; `mappingErrors` says what is wrong with its expressions. */
export function newHook() {
  return z.strictObject({ ...definition(), verification: verification() })
}

/** The body of `PATCH …/hooks/{id}`: what it leaves out stays; null takes `versions` or `when` away. */
export function hookChange() {
  return z.strictObject({
    name: z.optional(printable()),
    connectionId: z.optional(platformId),
    version: z.optional(template()),
    versions: z.optional(z.nullable(versionPatterns())),
    when: z.optional(z.nullable(z.string().check(z.minLength(1), z.maxLength(2_048)))),
    change: z.optional(change()),
    onFailure: z.optional(z.enum(['block', 'skip'])),
  })
}

/** The body of `POST …/hooks/{id}/rotate-secret`. */
export function secretRotation() {
  return z.strictObject({
    secret: secret(),
    graceSeconds: z._default(z.int().check(z.gte(0), z.lte(maxGraceSeconds)), defaultGraceSeconds),
  })
}

/** The body of `POST …/hooks/{id}/test`: an event, or the text that a sender would send, which a signature is over. */
export function sample() {
  return z
    .strictObject({
      headers: z._default(z.record(z.string(), z.string()), {}),
      body: z.optional(z.string()),
      event: z.optional(z.unknown()),
    })
    .check(
      z.refine(
        ({ body, event }) => (body === undefined) !== (event === undefined),
        'exactly one of body and event is needed',
      ),
    )
}

export type NewHook = z.infer<ReturnType<typeof newHook>>
export type HookChange = z.infer<ReturnType<typeof hookChange>>
