/**
 * Owns the administration of hooks and of what they were sent. Parses, asks the organisation, answers. The secret of a hook
 * passes through here once, on its way to its sender.
 */
import type { Context, MiddlewareHandler } from 'hono'
import { Hono } from 'hono/tiny'
import * as z from 'zod/mini'
import { hasHookIdForm, mintHookId } from '../auth/hook-id.ts'
import { randomBytes } from '../crypto.ts'
import type { Result } from '../errors.ts'
import { deliveryStates } from '../organisation/deliveries.ts'
import { headersTold, secretFrom } from '../organisation/hooks.ts'
import { hookChange, newHook, sample, secretRotation } from '../organisation/new-hook.ts'
import { adminCall, maxBodyBytes, reply } from './admin.ts'
import { problem } from './answer.ts'
import { type AppEnv, allow, jsonBody, validBody, validQuery } from './context.ts'
import { hookKey } from './webhooks.ts'

/** A sample is a text in JSON, which may double it. */
const maxSampleBytes = 2 * 1024 * 1024 + maxBodyBytes
const secretBytes = 32
function recordNumber() {
  return z.string().check(z.regex(/^[1-9]\d{0,14}$/, 'must be a record number'))
}
function pageSize() {
  return z.string().check(z.regex(/^([1-9]\d?\d?|1000)$/, 'must be a number from 1 to 1000'))
}

export function deliveryQuery() {
  return z.strictObject({
    state: z.optional(z.enum(deliveryStates)),
    before: z.optional(recordNumber()),
    limit: z.optional(pageSize()),
  })
}

export function hooks() {
  const hooks = new Hono<AppEnv>()

  const organisation = '/organisations/:organisation_id'
  const all = `${organisation}/hooks`
  hooks
    .use(all, allow('GET', 'POST'))
    .get(all, c =>
      reply(c, 200, async to => {
        const views = await to.hooks.list()
        return { ok: true, value: { hooks: views.map(view => ({ ...view, url: urlOf(c, view.id) })) } }
      }),
    )
    .post(all, jsonBody(maxBodyBytes, problem), validBody(newHook()), async c => {
      const wanted = c.req.valid('json')
      const key = await hookKey(c)
      if (!key.ok) return problem(c, key.refusal)
      const id = mintHookId(key.value, c.req.param('organisation_id'), randomBytes)
      const { verification } = wanted
      const brought = 'secret' in verification ? verification.secret : undefined
      const secret = brought ?? secretFrom(verification.type, randomBytes(secretBytes))
      return reply(c, 201, async to =>
        withUrl(c, { secret }, await to.hooks.create(adminCall(c), wanted, id, secret)),
      )
    })

  const one = `${all}/:hook_id`
  hooks
    .use(one, allow('GET', 'PATCH', 'DELETE'), knownHookForm())
    .get(one, c => reply(c, 200, async to => withUrl(c, {}, await to.hooks.get(c.req.param('hook_id')))))
    .patch(one, jsonBody(maxBodyBytes, problem), validBody(hookChange()), c =>
      reply(c, 200, async to =>
        withUrl(c, {}, await to.hooks.change(adminCall(c), c.req.param('hook_id'), c.req.valid('json'))),
      ),
    )
    .delete(one, c => reply(c, 200, to => to.hooks.delete(adminCall(c), c.req.param('hook_id'))))

  hooks
    .use(`${one}/rotate-secret`, allow('POST'), knownHookForm())
    .post(
      `${one}/rotate-secret`,
      jsonBody(maxBodyBytes, problem, { empty: '{}' }),
      validBody(secretRotation()),
      c => {
        const { secret, graceSeconds } = c.req.valid('json')
        const random = randomBytes(secretBytes)
        return reply(c, 201, async to => {
          const id = c.req.param('hook_id')
          return withUrl(
            c,
            {},
            await to.hooks.rotateSecret(adminCall(c), id, { secret, graceSeconds }, random),
          )
        })
      },
    )

  hooks
    .use(`${one}/test`, allow('POST'), knownHookForm())
    .post(`${one}/test`, jsonBody(maxSampleBytes, problem), validBody(sample()), c => {
      const { headers, event, body = JSON.stringify(event) } = c.req.valid('json')
      const told = headersTold(Object.entries(headers))
      return reply(c, 200, to => to.hooks.test(c.req.param('hook_id'), told, Buffer.from(body)))
    })

  hooks
    .use(`${one}/deliveries`, allow('GET'), knownHookForm())
    .get(`${one}/deliveries`, validQuery(deliveryQuery()), c => {
      const { state, before, limit = '100' } = c.req.valid('query')
      const filter = {
        state,
        before: before === undefined ? Number.MAX_SAFE_INTEGER : Number(before),
        limit: Number(limit),
      }
      return reply(c, 200, to => to.hooks.deliveries(c.req.param('hook_id'), filter))
    })

  const delivery = `${organisation}/deliveries/:delivery_id`
  hooks
    .use(delivery, allow('GET'), knownDeliveryForm())
    .get(delivery, c => reply(c, 200, to => to.hooks.delivery(c.req.param('delivery_id'))))

  hooks
    .use(`${delivery}/replay`, allow('POST'), knownDeliveryForm())
    .post(`${delivery}/replay`, c =>
      reply(c, 202, to => to.hooks.replay(adminCall(c), c.req.param('delivery_id'))),
    )
  return hooks
}

function knownHookForm(): MiddlewareHandler<AppEnv> {
  return async function knownHookForm(c, next) {
    if (hasHookIdForm(c.req.param('hook_id') ?? '')) return next()
    const message = 'must be the id of a hook: 24 characters of 0-9 A-Z a-z'
    return problem(c, { code: 'invalid-path', fields: [{ field: 'hook_id', message }] })
  }
}

function knownDeliveryForm(): MiddlewareHandler<AppEnv> {
  return async function knownDeliveryForm(c, next) {
    if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(c.req.param('delivery_id') ?? '')) return next()
    const message = 'must be the id of a delivery: a UUID in lower case'
    return problem(c, { code: 'invalid-path', fields: [{ field: 'delivery_id', message }] })
  }
}

/** Where a hook is to be sent to. */
function urlOf(c: Context<AppEnv>, id: string): string {
  return `${new URL(c.req.url).origin}/webhooks/${c.req.param('organisation_id')}/${id}`
}

function withUrl<T extends { id: string }, U extends object>(
  c: Context<AppEnv>,
  more: U,
  result: Result<T>,
): Result<T & U & { url: string }> {
  if (!result.ok) return result
  return { ...result, value: { ...result.value, url: urlOf(c, result.value.id), ...more } }
}
