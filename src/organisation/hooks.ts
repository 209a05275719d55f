/**
 * Owns the life of a hook: what an admin may define, and how it is made, changed and shown. Pure: rows and times in, rows
 * out. Secrets stand here sealed alone.
 */
import * as z from 'zod/mini'
import { matchesVersion, type Scope } from '../auth/caller.ts'
import { holdsToken } from '../auth/token.ts'
import type { SignatureScheme } from '../auth/webhook-signature.ts'
import { fromBase64 } from '../crypto.ts'
import type { FieldError } from '../errors.ts'
import { platformId } from '../update/connection-version.ts'
import { isTemplate } from '../update/template.ts'
import { type Mapped, type Mapping, mapEvent, mappingErrors } from '../update/webhook-mapping.ts'
import { writableFields } from '../update/writable.ts'
import { instant, printable, versionPatterns } from './tokens.ts'

/** How an event is believed: by a signature, or by a token of the gateway. */
export type Verification = SignatureScheme | { type: 'token' }

/** What an admin defines. */
export interface HookDefinition extends Mapping {
  name: string
  verification: Verification
  connectionId: string
  /** Whether a delivery that fails keeps later ones of its connection waiting. */
  onFailure: 'block' | 'skip'
}

/** A secret of a hook: the newest has no end. Times are milliseconds since 1970. */
export interface HookSecret {
  sealed: Uint8Array
  until: number | null
}

/** A hook as it is stored. */
export interface HookRow {
  id: string
  definition: HookDefinition
  /** The newest first; none where a token is asked for. */
  secrets: readonly HookSecret[]
  createdAt: number
  createdBy: string
}

/** Headers that no hook is told: credentials, and what stands on the way between the sender and here. */
export const withheld =
  /^(authorization|cookie|proxy-authorization|x-real-ip|true-client-ip|cf-.*|x-forwarded-.*)$/i

/** An organisation has at most so many. */
export const maxHooks = 100
const maxSecretLength = 512
const minSecretLength = 16
/** After two rotations in one day three secrets may be at work; the oldest goes before there are more. */
const maxSecrets = 3
const maxGraceSeconds = 7 * 86_400
const defaultGraceSeconds = 86_400

const secret = z.optional(
  z.string().check(
    z.minLength(minSecretLength),
    z.maxLength(maxSecretLength),
    z.refine(text => /^[\x20-\x7e]*$/.test(text), 'must be printable ASCII'),
  ),
)

const standardSecret = z.optional(
  z
    .string()
    .check(
      z.refine(
        isStandardSecret,
        'must be whsec_ and base64 of 24 to 64 bytes, or whpk_ and base64 of a public key',
      ),
    ),
)

/** Standard Webhooks, "Signature scheme": a shared secret of 24 to 64 bytes, or an Ed25519 public key. */
function isStandardSecret(text: string): boolean {
  const [, kind, base64 = ''] = /^(whsec_|whpk_)(.*)$/.exec(text) ?? []
  const length = fromBase64(base64)?.byteLength ?? 0
  return kind === 'whpk_' ? length === 32 : kind === 'whsec_' && length >= 24 && length <= 64
}

const verification = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('standard-webhooks'), secret: standardSecret }),
  z.strictObject({ type: z.literal('github'), secret }),
  z.strictObject({ type: z.literal('stripe'), secret }),
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
    secret,
  }),
  z.strictObject({ type: z.literal('token') }),
])

const template = z.string().check(z.minLength(1), z.maxLength(4_096))
const change = z.record(z.string(), z.union([z.string().check(z.maxLength(4_096)), z.boolean(), z.null()]))

const definition = {
  name: printable,
  connectionId: platformId,
  version: template,
  versions: z.optional(versionPatterns),
  when: z.optional(z.string().check(z.minLength(1), z.maxLength(2_048))),
  change,
  onFailure: z._default(z.enum(['block', 'skip']), 'block'),
}

/** The body of `POST …/hooks`; `mappingErrors` says what is wrong with its expressions. */
export const newHook = z.strictObject({ ...definition, verification })

/** The body of `PATCH …/hooks/{id}`: what it leaves out stays; null takes `versions` or `when` away. */
export const hookChange = z.strictObject({
  name: z.optional(printable),
  connectionId: z.optional(platformId),
  version: z.optional(template),
  versions: z.optional(z.nullable(versionPatterns)),
  when: z.optional(z.nullable(z.string().check(z.minLength(1), z.maxLength(2_048)))),
  change: z.optional(change),
  onFailure: z.optional(z.enum(['block', 'skip'])),
})

/** The body of `POST …/hooks/{id}/rotate-secret`. */
export const secretRotation = z.strictObject({
  secret,
  graceSeconds: z._default(z.int().check(z.gte(0), z.lte(maxGraceSeconds)), defaultGraceSeconds),
})

/** The body of `POST …/hooks/{id}/test`: an event, or the text that a sender would send, which a signature is over. */
export const sample = z
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

export type NewHook = z.infer<typeof newHook>
export type HookChange = z.infer<typeof hookChange>

/** What is wrong with a definition beyond its schema. */
export function definitionErrors(wanted: Mapping): FieldError[] {
  const errors = mappingErrors(wanted)
  const { version, versions, change } = wanted
  const unmatched = (name: unknown) =>
    typeof name === 'string' && !isTemplate(name) && !versions?.some(each => matchesVersion(each, name))
  const message = 'matches none of versions'
  if (versions && unmatched(version)) errors.push({ field: 'version', message })
  if (versions && unmatched(change.name)) errors.push({ field: 'change.name', message })
  return errors
}

/** What an event becomes: a change that the log may hold. */
export function mapFor(
  definition: HookDefinition,
  event: unknown,
  headers: Readonly<Record<string, string>>,
): Mapped {
  return mapEvent(definition, event, headers, matchesVersion, holdsToken)
}

/** Whether a text may be the secret of a hook of this type. */
export function isSecretFor(type: Verification['type'], text: string): boolean {
  return type === 'standard-webhooks' ? isStandardSecret(text) : type !== 'token'
}

/** A secret in the form that senders of this type take, from 32 random bytes; undefined where none is needed. */
export function secretFrom(type: Verification['type'], random: Uint8Array): string | undefined {
  const bytes = Buffer.from(random)
  if (type === 'token') return undefined
  return type === 'standard-webhooks' ? `whsec_${bytes.toString('base64')}` : bytes.toString('base64url')
}

/** What of a request's body is kept: all but the secret. */
export function definitionOf(wanted: NewHook): HookDefinition {
  const { secret: _, ...verification } = { secret: undefined, ...wanted.verification }
  return { ...wanted, verification }
}

/** A definition with a change, in its own order; what was wrong with the whole of it is for definitionErrors. */
export function changeDefinition(before: HookDefinition, wanted: HookChange): HookDefinition {
  const given = Object.entries(wanted).filter(([, value]) => value !== undefined)
  const all = Object.entries({ ...before, ...Object.fromEntries(given) })
  return Object.fromEntries(all.filter(([, value]) => value !== null)) as unknown as HookDefinition
}

/** A hook with a new secret; the ones before it work for the grace. */
export function rotateHook(row: HookRow, sealed: Uint8Array, graceSeconds: number, nowMs: number): HookRow {
  const until = nowMs + graceSeconds * 1000
  const graced = activeSecrets(row, nowMs).map(each => ({
    ...each,
    until: each.until === null ? until : Math.min(each.until, until),
  }))
  const kept = graceSeconds === 0 ? [] : graced.slice(0, maxSecrets - 1)
  return { ...row, secrets: [{ sealed, until: null }, ...kept] }
}

/** The secrets that work now. */
export function activeSecrets({ secrets }: HookRow, nowMs: number): readonly HookSecret[] {
  return secrets.filter(({ until }) => until === null || nowMs < until)
}

/** What a hook may do: update versions of its own connection, under the names that it allows. */
export function scopeOfHook({ connectionId, versions }: HookDefinition): Scope {
  return {
    actions: ['update'],
    connections: [connectionId],
    versions: versions ?? ['*'],
    fields: writableFields,
  }
}

/** A hook as an admin sees it: without a secret. */
export interface HookView extends HookDefinition {
  id: string
  createdAt: string
  createdBy: string
  /** Until when each of its older secrets works. */
  previousSecretsUntil: string[]
  pending: number
  dead: number
}

export function viewHook(row: HookRow, counts: { pending: number; dead: number }, nowMs: number): HookView {
  const older = activeSecrets(row, nowMs).flatMap(({ until }) => (until === null ? [] : [instant(until)]))
  return {
    id: row.id,
    ...row.definition,
    createdAt: instant(row.createdAt),
    createdBy: row.createdBy,
    previousSecretsUntil: older,
    ...counts,
  }
}
