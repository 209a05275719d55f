/**
 * Owns the webhook target: takes an event in, bounded, and hands it to the organisation's object, which checks who sent it. Never
 * looks at what an event says, and passes on no credential: of a token its id and digest.
 */
import type { Context } from 'hono'
import * as z from 'zod/mini'
import { isHookId } from '../auth/hook-id.ts'
import { bearerOf, parseToken } from '../auth/token.ts'
import type { Config } from '../env.ts'
import { type Refusal, type Result, refuse } from '../errors.ts'
import { headersTold } from '../organisation/hooks.ts'
import type { WebhookCall } from '../organisation/messages.ts'
import { platformId } from '../update/connection-version.ts'
import { answer, ask, problem, refusalOf } from './answer.ts'
import {
  type AppEnv,
  allow,
  bodyOf,
  clientOf,
  configured,
  mediaRefusal,
  noQuery,
  validPath,
} from './context.ts'
import { part } from './part.ts'

const maxEventBytes = 1024 * 1024

export function webhooks() {
  const webhooks = part().basePath('/webhooks')

  webhooks.use(configured())
  const path = '/:organisation_id/:hook_id'
  webhooks
    .use(path, allow('POST'))
    .post(path, validPath(z.object({ organisation_id: platformId })), noQuery(), async c => {
      const { organisation_id: organisationId, hook_id: hookId } = c.req.param() as Record<
        'organisation_id' | 'hook_id',
        string
      >
      const key = await hookKey(c)
      if (!key.ok) return problem(c, key.refusal)
      // Made up: nobody is asked, and nothing is read.
      if (!isHookId(key.value, organisationId, hookId)) return problem(c, noSuchHook)
      const body = await bodyOf(c, maxEventBytes)
      const refusal = body.ok ? mediaRefusal(c.req.raw.headers, 'application/json') : body.refusal
      const call: WebhookCall = {
        organisationId,
        hookId,
        requestId: c.get('requestId'),
        client: clientOf(c),
        body: body.ok ? body.value : new Uint8Array(0),
        headers: headersTold(c.req.raw.headers),
      }
      const bearer = bearerOf(c.req.header('Authorization'))
      if (bearer !== undefined) call.credential = parseToken(bearer) ?? 'malformed'
      if (refusal) call.refusal = refusal
      const asked = await ask(c, organisationId, organisation => organisation.receive(call))
      return asked.ok ? answer(c, asked.value) : problem(c, asked.refusal)
    })
  return webhooks
}

const noSuchHook: Refusal = { code: 'not-found', detail: 'There is no hook at this path.' }

/** The key of each gateway's hook ids, as it never changes. Never a promise: one of a request that was broken off never settles. */
const keys = new WeakMap<Config, Uint8Array>()

/** What the check in a hook's id is made with. */
export async function hookKey(c: Context<AppEnv>): Promise<Result<Uint8Array>> {
  const config = c.get('config')
  try {
    const key = keys.get(config) ?? (await config.directory.getByName('directory').hookKey())
    keys.set(config, key)
    return { ok: true, value: key }
  } catch (error) {
    return refuse(refusalOf(error, c.get('requestId')))
  }
}
