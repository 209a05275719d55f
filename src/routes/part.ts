/**
 * Owns how the API is cut into parts that stand for themselves, so that one which most callers have no use for is built at its
 * first use: start-up makes what those need, and their requests are matched against their own paths alone.
 */
import type { Context } from 'hono'
import { Hono } from 'hono/tiny'
import { problem, refusalOf } from './answer.ts'
import { type AppEnv, requestId } from './context.ts'

export type Part = Pick<Hono<AppEnv>, 'fetch'>

/** A part without routes: it gives each request its id, and a problem to one that it has no path for or that throws. */
export function part(): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  routes.use(requestId())
  routes.notFound(c => problem(c, { code: 'not-found', detail: 'There is nothing at this path.' }))
  routes.onError((error, c) => problem(c, refusalOf(error, c.get('requestId'))))
  return routes
}

/** Hands a request over to a part, whole: nothing that was set in its context before goes with it. */
export function later(build: () => Part): (c: Context<AppEnv>) => Response | Promise<Response> {
  let built: Part | undefined
  return function later(c) {
    built ??= build()
    return built.fetch(c.req.raw, c.env, c.executionCtx)
  }
}
