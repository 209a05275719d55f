/**
 * Owns the callers' endpoints under /o. Parses, asks the organisation, answers. Never holds the session, and never
 * passes on the token: its id and digest go to the object.
 */
import type { Context, MiddlewareHandler } from 'hono'
import { Hono } from 'hono/tiny'
import * as z from 'zod/mini'
import { bearerOf, holdsToken, parseToken } from '../auth/token.ts'
import { type Refusal, tokenInBody } from '../errors.ts'
import type { Answer, Call, UpdateCall } from '../organisation/messages.ts'
import { tokenless } from '../organisation/new-token.ts'
import type { Organisation } from '../organisation/organisation.ts'
import {
  connectionVersion,
  platformId,
  serialise,
  type Update,
  versionName,
} from '../update/connection-version.ts'
import { etagOf, parseIfMatch } from '../update/etag.ts'
import { parseIdempotencyKey } from '../update/idempotency-key.ts'
import { namesIn, patchErrors } from '../update/proposal.ts'
import { answer, ask, problem } from './answer.ts'
import { type AppEnv, allow, clientOf, hostOf, jsonBody, noQuery, validBody, validPath } from './context.ts'
import { countRefused, learn, turnedAway } from './gate.ts'

const maxBodyBytes = 64 * 1024
const maxTraceLength = 512
const maxFields = 100

/** A version's name that may stand in the log: a token in its place may not. */
const storableName = versionName.check(tokenless())

export const versionPath = z.strictObject({
  organisation_id: platformId,
  connection_id: platformId,
  version: storableName,
})
export const organisationPath = z.strictObject({ organisation_id: platformId })
export const receiptPath = z.strictObject({
  organisation_id: platformId,
  seq: z.string().check(z.regex(/^[1-9]\d{0,14}$/, 'must be a record number')),
})

export const versions = new Hono<AppEnv>()

const path = '/:organisation_id/connections/:connection_id/versions/:version'
versions
  .use(path, allow('GET', 'PUT', 'PATCH'), credential())
  .get(path, validPath(versionPath, refused), noQuery(refused), c => {
    const { organisation_id, ...rest } = c.req.valid('param')
    const target = { connectionId: rest.connection_id, version: rest.version }
    return call(c, organisation_id, organisation => organisation.read({ ...callOf(c), target }))
  })
  .put(
    path,
    validPath(versionPath, refused),
    noQuery(refused),
    jsonBody(maxBodyBytes, refused),
    validBody(connectionVersion, refused),
    c => update(c, c.req.valid('param'), { update: serialise(c.req.valid('json')) }),
  )
  .patch(
    path,
    validPath(versionPath, refused),
    noQuery(refused),
    jsonBody(maxBodyBytes, refused, { mediaType: 'application/merge-patch+json' }),
    async c => {
      const patch: unknown = JSON.parse(await c.req.text())
      const fields = patchErrors(patch)
      if (fields.length > 0) return refused(c, { code: 'invalid-body', fields: fields.slice(0, maxFields) })
      return update(c, c.req.valid('param'), { patch: JSON.stringify(patch) })
    },
  )

const tokenPath = '/:organisation_id/token'
versions
  .use(tokenPath, allow('GET'), credential())
  .get(tokenPath, validPath(organisationPath, refused), noQuery(refused), c =>
    call(c, c.req.valid('param').organisation_id, organisation => organisation.describeToken(callOf(c))),
  )

const oneReceipt = '/:organisation_id/receipts/:seq'
versions
  .use(oneReceipt, allow('GET'), credential())
  .get(oneReceipt, validPath(receiptPath, refused), noQuery(refused), c => {
    const { organisation_id, seq } = c.req.valid('param')
    const asked = { ...callOf(c), seq: Number(seq), host: hostOf(c) }
    return call(c, organisation_id, organisation => organisation.receipt(asked))
  })

/** Asks for an update, with what its headers add to it. */
function update(
  c: Context<AppEnv>,
  { organisation_id, connection_id, version }: z.infer<typeof versionPath>,
  wanted: { update: Update } | { patch: string },
): Response | Promise<Response> {
  const conditions: Pick<UpdateCall, 'idempotencyKey' | 'ifMatch'> = {}
  const body = 'update' in wanted ? wanted.update.body : wanted.patch
  const key = c.req.header('Idempotency-Key')
  if (key !== undefined) {
    const idempotencyKey = parseIdempotencyKey(key)
    if (idempotencyKey === undefined) {
      const what = 'one quoted string or token of 1 to 255 printable ASCII characters'
      return refused(c, badHeader('Idempotency-Key', what), body)
    }
    conditions.idempotencyKey = idempotencyKey
  }
  const condition = c.req.header('If-Match')
  if (condition !== undefined) {
    const ifMatch = parseIfMatch(condition)
    if (!ifMatch)
      return refused(c, badHeader('If-Match', '* or entity tags in quotes, as ETag gives them'), body)
    conditions.ifMatch = ifMatch
  }
  // Its body and key stand in the log, which must not hold a secret.
  if (holdsToken(body + (conditions.idempotencyKey ?? ''))) return refused(c, tokenInBody, body)
  const asked = { ...callOf(c), target: { connectionId: connection_id, version }, ...conditions, ...wanted }
  return call(c, organisation_id, organisation => organisation.update(asked), true)
}

function badHeader(field: string, what: string): Refusal {
  return { code: 'invalid-body', fields: [{ field, message: `must be ${what}` }] }
}

/** A credential of the right form, or a 401 that no object hears of. */
function credential(): MiddlewareHandler<AppEnv> {
  return async function credential(c, next) {
    const bearer = bearerOf(c.req.header('Authorization'))
    if (bearer === undefined) return problem(c, { code: 'missing-token' })
    const parsed = parseToken(bearer)
    if (!parsed) {
      await countRefused(c)
      return problem(c, { code: 'invalid-token', reason: 'malformed' })
    }
    c.set('credential', parsed)
    return next()
  }
}

/**
 * What was refused for what it holds still goes to the object: an unknown caller gets its 401, whatever it sent.
 * The name in a `body` that was read must be in the caller's scope too. Without a valid organisation there is no object to ask,
 * and no record.
 */
function refused(c: Context<AppEnv>, refusal: Refusal, body?: string): Response | Promise<Response> {
  const { organisation_id = '', connection_id, version } = c.req.param() as Record<string, string>
  if (!z.safeParse(platformId, organisation_id).success) return problem(c, refusal)
  const target: Call['target'] = {}
  if (z.safeParse(platformId, connection_id).success) target.connectionId = connection_id
  if (z.safeParse(storableName, version).success) target.version = version
  const action = c.req.method === 'GET' ? 'read' : 'update'
  const named = body === undefined ? [] : namesIn(body)
  return call(c, organisation_id, organisation =>
    organisation.refused({ ...callOf(c), target, action, named, refusal }),
  )
}

async function call(
  c: Context<AppEnv>,
  organisationId: string,
  to: (organisation: DurableObjectStub<Organisation>) => Promise<Answer>,
  sends = false,
): Promise<Response> {
  const credential = c.get('credential')
  const away = await turnedAway(c, organisationId, credential)
  if (away) return problem(c, away)
  const asked = await ask(c, organisationId, to)
  if (asked.ok) {
    const { result } = asked.value
    const disbelieved =
      !result.ok && result.refusal.code === 'invalid-token' ? result.refusal.reason : undefined
    await learn(c, organisationId, credential, disbelieved)
    const etag = result.ok ? etagOf(result.body) : undefined
    if (etag) c.header('ETag', etag)
    return answer(c, asked.value)
  }
  // An overloaded object has turned the call away; any other exception may have come after the send.
  const mayBeSent = sends && asked.refusal.code !== 'overloaded'
  return mayBeSent ? problem(c, asked.refusal, 'unknown') : problem(c, asked.refusal)
}

function callOf(c: Context<AppEnv>): Call {
  const trace: Call['trace'] = {}
  const traceparent = c.req.header('traceparent')
  const tracestate = c.req.header('tracestate')
  if (traceparent) trace.traceparent = traceparent.slice(0, maxTraceLength)
  // It is sent on, and tokens stay here.
  if (tracestate && !holdsToken(tracestate)) trace.tracestate = tracestate.slice(0, maxTraceLength + 1)
  return {
    organisationId: c.req.param('organisation_id') ?? '',
    requestId: c.get('requestId'),
    client: clientOf(c),
    credential: c.get('credential'),
    target: {},
    trace,
  }
}
