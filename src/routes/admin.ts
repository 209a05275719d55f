/**
 * Owns administration under /admin: tokens, the session, the list of organisations. Mints tokens here, at the edge, so
 * that no object ever sees one. Never answers anyone without an admin secret.
 */
import type { Context, MiddlewareHandler } from 'hono'
import { Hono } from 'hono/tiny'
import * as z from 'zod/mini'
import { readerOf } from '../auth/admin.ts'
import { bearerOf, isTokenId, mintToken } from '../auth/token.ts'
import { randomBytes } from '../crypto.ts'
import { type Refusal, type Result, refuse } from '../errors.ts'
import type { AdminCall } from '../organisation/messages.ts'
import { newSession } from '../organisation/new-session.ts'
import { newToken, rotation } from '../organisation/new-token.ts'
import type { Organisation } from '../organisation/organisation.ts'
import { instant } from '../organisation/tokens.ts'
import { platformId } from '../update/connection-version.ts'
import { ask, problem } from './answer.ts'
import {
  type AppEnv,
  allow,
  hostOf,
  jsonBody,
  originOf,
  validBody,
  validPath,
  validQuery,
} from './context.ts'
import { countRefused, learn } from './gate.ts'

export const maxBodyBytes = 64 * 1024
const organisationsPage = 100

export function listQuery() {
  return z.strictObject({ after: z.optional(platformId) })
}

export function admin() {
  const admin = new Hono<AppEnv>()

  admin.use('/organisations', allow('GET')).get('/organisations', validQuery(listQuery()), async c => {
    const { after = '' } = c.req.valid('query')
    const { directory } = c.get('config')
    const rows = await directory.getByName('directory').list(after, organisationsPage + 1)
    const page = rows.slice(0, organisationsPage)
    const organisations = page.map(row => ({
      id: row.organisationId,
      createdAt: instant(row.createdAt),
      session: { state: row.sessionState },
      tokens: row.tokens,
      storage: { bytes: row.bytes },
    }))
    return c.json({
      organisations,
      next: rows.length > organisationsPage ? (organisations.at(-1)?.id ?? null) : null,
    })
  })

  admin.use('/reseal', allow('POST')).post('/reseal', validQuery(listQuery()), async c => {
    const { after = '' } = c.req.valid('query')
    const { directory } = c.get('config')
    const rows = await directory.getByName('directory').list(after, organisationsPage + 1)
    const page = rows.slice(0, organisationsPage).map(row => row.organisationId)
    const counts = { resealed: 0, unchanged: 0 }
    const failed: string[] = []
    for (const id of page) {
      const outcome = await ask<Result<'resealed' | 'unchanged' | 'unopened'>>(c, id, async organisation =>
        organisation.reseal({ ...adminCall(c), organisationId: id }),
      )
      if (!outcome.ok || !outcome.value.ok || outcome.value.value === 'unopened') failed.push(id)
      else counts[outcome.value.value]++
    }
    return c.json({ ...counts, failed, next: rows.length > organisationsPage ? (page.at(-1) ?? null) : null })
  })

  const organisation = '/organisations/:organisation_id'
  admin
    .use(`${organisation}/tokens`, allow('GET', 'POST'))
    .get(`${organisation}/tokens`, c =>
      reply(c, 200, async to => ({ ok: true, value: { tokens: await to.tokens.list() } })),
    )
    .post(`${organisation}/tokens`, jsonBody(maxBodyBytes, problem), validBody(newToken()), c => {
      const wanted = c.req.valid('json')
      if (isPast(wanted.expiresAt)) return problem(c, pastExpiry)
      const minted = mintToken(randomBytes)
      return reply(c, 201, async to =>
        withToken(c, minted, await to.tokens.create(adminCall(c), wanted, minted.credential)),
      )
    })

  const oneToken = `${organisation}/tokens/:token_id`
  admin
    .use(oneToken, allow('GET', 'DELETE'), knownTokenForm())
    .get(oneToken, c => reply(c, 200, to => to.tokens.get(c.req.param('token_id'))))
    .delete(oneToken, c => reply(c, 200, to => to.tokens.revoke(adminCall(c), c.req.param('token_id'))))

  admin
    .use(`${oneToken}/rotate`, allow('POST'), knownTokenForm())
    .post(
      `${oneToken}/rotate`,
      jsonBody(maxBodyBytes, problem, { empty: '{}' }),
      validBody(rotation()),
      c => {
        const { graceSeconds } = c.req.valid('json')
        const minted = mintToken(randomBytes, c.req.param('token_id'))
        return reply(c, 201, async to =>
          withToken(c, minted, await to.tokens.rotate(adminCall(c), minted.credential, graceSeconds)),
        )
      },
    )

  admin
    .use(`${organisation}/session`, allow('GET', 'PUT', 'DELETE'))
    .get(`${organisation}/session`, c =>
      reply(c, 200, async to => ({ ok: true, value: await to.getSession() })),
    )
    .put(`${organisation}/session`, jsonBody(maxBodyBytes, problem), validBody(newSession()), c => {
      const wanted = c.req.valid('json')
      if (isPast(wanted.expiresAt)) return problem(c, pastExpiry)
      return reply(c, 200, to => to.setSession(adminCall(c), wanted))
    })
    .delete(`${organisation}/session`, c => reply(c, 200, to => to.deleteSession(adminCall(c))))
  return admin
}

/**
 * An admin, or an auditor who only reads; else a 401 or 403, which the organisation's log is told of. No GET under /admin
 * changes anything but the log.
 */
export function administrator(): MiddlewareHandler<AppEnv> {
  return async function administrator(c, next) {
    const presented = bearerOf(c.req.header('Authorization'))
    if (presented === undefined) return problem(c, { code: 'missing-token' })
    const reader = readerOf(presented, c.get('config'))
    const id = /^\/admin\/organisations\/([A-Za-z0-9_-]{1,64})\//.exec(c.req.path)?.[1]
    if (reader) {
      const { role, name } = reader
      c.set('reader', { role, name })
      if (role === 'admin' || c.req.method === 'GET') return next()
      if (id) await ask(c, id, to => to.adminDenied({ ...originOf(c, id), reader: c.get('reader') }))
      return problem(c, { code: 'insufficient-scope' })
    }
    // Past the address's limit nobody is told: it would cost an object call each.
    const counted = await countRefused(c)
    if (id && counted) await ask(c, id, to => to.adminDenied(originOf(c, id)))
    return problem(c, { code: 'invalid-token', reason: 'unknown' })
  }
}

function isPast(expiresAt: string | null | undefined): boolean {
  return typeof expiresAt === 'string' && Date.parse(expiresAt) <= Date.now()
}

const pastExpiry: Refusal = {
  code: 'invalid-body',
  fields: [{ field: 'expiresAt', message: 'must lie in the future' }],
}

/** The organisation of an admin path, by its rule. */
export function validOrganisation() {
  return validPath(z.object({ organisation_id: platformId }))
}

function knownTokenForm(): MiddlewareHandler<AppEnv> {
  return async function knownTokenForm(c, next) {
    if (isTokenId(c.req.param('token_id') ?? '')) return next()
    const message = 'must be the id of a token: 16 characters of 0-9 A-Z a-z'
    return problem(c, { code: 'invalid-path', fields: [{ field: 'token_id', message }] })
  }
}

/** Asks the organisation of the path and answers in JSON. */
export async function reply<T extends object>(
  c: Context<AppEnv>,
  status: 200 | 201 | 202,
  call: (to: DurableObjectStub<Organisation>) => Promise<Result<T>>,
): Promise<Response> {
  const asked = await ask(c, c.req.param('organisation_id') ?? '', call)
  const result: Result<T> = asked.ok ? asked.value : refuse(asked.refusal)
  if (!result.ok) return problem(c, result.refusal)
  if (result.receipt) c.header('Audit-Receipt', result.receipt)
  return c.json(result.value as object, status)
}

/** The one answer that holds a token. */
async function withToken<T extends object>(
  c: Context<AppEnv>,
  { token, credential }: ReturnType<typeof mintToken>,
  result: Result<T>,
): Promise<Result<T & { token: string }>> {
  if (!result.ok) return result
  await learn(c, c.req.param('organisation_id') ?? '', credential, undefined)
  return { ...result, value: { ...result.value, token } }
}

/** An admin's request to the organisation of the path. */
export function adminCall(c: Context<AppEnv>): AdminCall {
  return { ...originOf(c), admin: c.get('reader').name, host: hostOf(c) }
}
