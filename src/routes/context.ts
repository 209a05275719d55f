/**
 * Owns what every route needs of a request: its id, its configuration, who sent it, and a bounded JSON body.
 * Never trusts a length that a header claims.
 */
import { zValidator } from '@hono/zod-validator'
import type { Context, MiddlewareHandler } from 'hono'
import type * as z from 'zod/mini'
import type { Reader } from '../auth/admin.ts'
import type { Visitor } from '../auth/console-cookie.ts'
import { type Credential, withoutTokens } from '../auth/token.ts'
import { readBody } from '../body.ts'
import { uuidv7 } from '../crypto.ts'
import { type Config, readConfig } from '../env.ts'
import { ok, type Refusal, type Result, refuse } from '../errors.ts'
import type { Origin } from '../organisation/messages.ts'
import type { Client } from '../organisation/record.ts'
import { fieldErrors } from '../update/connection-version.ts'
import { readJson } from '../update/json-document.ts'
import { problem } from './answer.ts'

export interface AppEnv {
  Bindings: Env
  Variables: {
    requestId: string
    /** Set by configured(). */
    config: Config
    /** Set by credential(), under /o. */
    credential: Credential
    /** Set by administrator(), under /admin: whose secret it was. */
    reader: Reader
    /** Set by the console: who is logged in to it. */
    visitor: Visitor
  }
}

/** Turns a refusal into an answer; a route may have to ask the organisation first. */
export type Refuse = (c: Context<AppEnv>, refusal: Refusal) => Response | Promise<Response>

const maxUserAgentLength = 256
const maxIpLength = 45

/** The caller's X-Request-Id where it is a plain token of at most 128 characters, else a new UUIDv7. */
export function requestId(): MiddlewareHandler<AppEnv> {
  return async function requestId(c, next) {
    const claimed = c.req.header('X-Request-Id') ?? ''
    const usable = /^[A-Za-z0-9._-]{1,128}$/.test(claimed) && withoutTokens(claimed) === claimed
    const id = usable ? claimed : uuidv7(Date.now())
    c.set('requestId', id)
    // Before there is an answer: each header that is set on a finished one makes it anew.
    c.header('X-Request-Id', id)
    c.header('Cache-Control', 'no-store')
    c.header('X-Content-Type-Options', 'nosniff')
    return next()
  }
}

/** A path with a slash at its end is another path, which the router would forgive. */
export function noTrailingSlash(): MiddlewareHandler<AppEnv> {
  return async function noTrailingSlash(c, next) {
    if (c.req.path === '/' || !c.req.path.endsWith('/')) return next()
    return problem(c, { code: 'not-found', detail: 'There is nothing at this path: it ends in a slash.' })
  }
}

/** Nothing runs on half a configuration. */
export function configured(): MiddlewareHandler<AppEnv> {
  return async function configured(c, next) {
    const result = readConfig(c.env)
    if (!result.ok) {
      // Which settings fail is for GET /health to say, not for every caller's log.
      return problem(c, { code: 'not-configured', failing: [] })
    }
    c.set('config', result.config)
    return next()
  }
}

/** Answers every other method; HEAD too, which the router would otherwise treat as GET. */
export function allow(...methods: string[]): MiddlewareHandler<AppEnv> {
  return async function allow(c, next) {
    if (methods.includes(c.req.method)) return next()
    return problem(c, { code: 'method-not-allowed', allow: methods })
  }
}

/** No query string: tokens do not belong there. */
export function noQuery(refused: Refuse = problem): MiddlewareHandler<AppEnv> {
  return async function noQuery(c, next) {
    // Also where it is empty: what it would mean upstream is not the gateway's to guess.
    if (!c.req.url.includes('?')) return next()
    return refused(c, { code: 'invalid-query', fields: [{ field: 'query', message: 'must be empty' }] })
  }
}

/** The host that was asked, a port that is not the scheme's own included: it names the log and its key. */
export function hostOf(c: Context): string {
  return new URL(c.req.url).host
}

/** Where a request comes from. CF-Connecting-IP is set by Cloudflare, which overwrites a client's own. */
export function clientOf(c: Context): Client {
  const client: Client = {}
  const ip = c.req.header('CF-Connecting-IP')
  const userAgent = c.req.header('User-Agent')
  if (ip) client.ip = ip.slice(0, maxIpLength)
  if (userAgent) client.userAgent = withoutTokens(userAgent).slice(0, maxUserAgentLength)
  return client
}

/** Who asks an organisation, as the edge sees it. */
export function originOf(c: Context<AppEnv>, organisationId = c.req.param('organisation_id') ?? ''): Origin {
  return { organisationId, requestId: c.get('requestId'), client: clientOf(c) }
}

/**
 * Reads a JSON body for the validator that follows. Refuses more bytes than `limitBytes` (413), other media types and any
 * content coding (415), and what is not JSON in UTF-8 (400). `empty`: the text to take where nothing was sent.
 */
export function jsonBody(
  limitBytes: number,
  refused: Refuse,
  { empty, mediaType = 'application/json' }: { empty?: string; mediaType?: string } = {},
): MiddlewareHandler<AppEnv> {
  return async function jsonBody(c, next) {
    const read = await bodyOf(c, limitBytes)
    if (!read.ok) return refused(c, read.refusal)
    const bytes = read.value
    const nothing = empty !== undefined && bytes.byteLength === 0
    const refusal = nothing ? undefined : mediaRefusal(c.req.raw.headers, mediaType)
    if (refusal) return refused(c, refusal)
    const text = nothing ? ok(empty) : readJson(bytes, jsonText)
    if (!text.ok) return refused(c, text.refusal)
    // Where Hono keeps a body that was read, typed as what it resolves to.
    Object.assign(c.req.bodyCache, { text: Promise.resolve(text.value) })
    return next()
  }
}

/** A request's body, or what is wrong with it before anything is looked at: too long, or not whole. */
export async function bodyOf(c: Context<AppEnv>, limitBytes: number): Promise<Result<Uint8Array>> {
  try {
    const bytes = await readBody(c.req.raw, limitBytes)
    return bytes ? ok(bytes) : refuse({ code: 'body-too-large', limitBytes })
  } catch {
    // The caller's doing, as it hung up or sent chunks that are none: no fault of the gateway's.
    return refuse({ code: 'malformed-json', detail: 'The body breaks off before its end.' })
  }
}

export function mediaRefusal(headers: Headers, mediaType: string): Refusal | undefined {
  const coding = headers.get('Content-Encoding')
  if (coding && coding.trim().toLowerCase() !== 'identity') {
    return { code: 'unsupported-media-type', detail: 'The body must be sent without a Content-Encoding.' }
  }
  const [type = '', ...parameters] = (headers.get('Content-Type') ?? '').split(';')
  const utf8 = parameters.every(each => /^\s*charset\s*=\s*"?utf-8"?\s*$/i.test(each))
  if (type.trim().toLowerCase() === mediaType && utf8 && parameters.length < 2) return undefined
  return {
    code: 'unsupported-media-type',
    detail: `The body must be sent as Content-Type: ${mediaType}, in UTF-8.`,
  }
}

/** The text of what is JSON; throws where it is not. */
function jsonText(text: string): Result<string> {
  JSON.parse(text)
  return ok(text)
}

/** The JSON body by a schema; every complaint is named. */
export function validBody<T extends z.ZodMiniType>(schema: T, refused: Refuse = problem) {
  return zValidator('json', schema, (result, c: Context) => {
    if (!result.success) return refused(c, { code: 'invalid-body', fields: fieldErrors(result.error) })
  })
}

/** The query string by a schema; every complaint is named. */
export function validQuery<T extends z.ZodMiniType>(schema: T) {
  return zValidator('query', schema, (result, c: Context) => {
    if (!result.success) return problem(c, { code: 'invalid-query', fields: fieldErrors(result.error) })
  })
}

/** The path's parameters by a schema; every complaint is named. */
export function validPath<T extends z.ZodMiniType>(schema: T, refused: Refuse = problem) {
  return zValidator('param', schema, (result, c: Context) => {
    if (!result.success) return refused(c, { code: 'invalid-path', fields: fieldErrors(result.error) })
  })
}
