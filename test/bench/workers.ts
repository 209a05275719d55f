/**
 * Owns the Workers that the gateway is measured beside, as the texts that workerd runs: what passes a request through, what
 * does so in an object, and what counts the rows that the gateway's object writes.
 */

/** The limit of the platform: nothing but the way to the upstream and back. */
export const bare = `
export default {
  fetch: (request, env) => fetch(env.UPSTREAM_BASE_URL + new URL(request.url).pathname, request),
}
`

/** The limit of the design: one call of an object, which passes the request on through one of five slots. */
export const hop = `
import { DurableObject } from 'cloudflare:workers'

export class Hop extends DurableObject {
  #free = 5
  #waiting = []

  async pass(url, method, body) {
    if (this.#free > 0) this.#free--
    else await new Promise(resolve => this.#waiting.push(resolve))
    try {
      const response = await fetch(url, { method, body, headers: { 'Content-Type': 'application/json' } })
      return { status: response.status, body: await response.text() }
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url)
    const text = request.method === 'GET' ? undefined : await request.text()
    const object = env.HOP.getByName(pathname.split('/')[2])
    const { status, body } = await object.pass(env.UPSTREAM_BASE_URL + pathname, request.method, text)
    return new Response(body, { status, headers: { 'Content-Type': 'application/json' } })
  },
}
`

/**
 * The built gateway, with its rate limiter counted in memory, as Cloudflare's is: miniflare's stand-in for it is a Durable
 * Object that writes a row at each call, and would be all that the refusals show.
 */
export const entry = `
import worker from './built.js'
export { Directory, Organisation } from './built.js'

const counts = new Map()
const ADDRESS_LIMIT = {
  async limit({ key }) {
    counts.set(key, (counts.get(key) ?? 0) + 1)
    return { success: true }
  },
}
let bound

export default {
  ...worker,
  fetch: (request, env, context) => worker.fetch(request, (bound ??= { ...env, ADDRESS_LIMIT }), context),
}
`

/**
 * The built gateway, with the runtime's own count of rows written (indexes included, as they are billed) read from every
 * statement of its object, and each alarm that is set as one row. GET /bench/rows tells both.
 */
export const counted = `
import worker, { Directory, Organisation as Built } from './built.js'
export { Directory }

const written = { rows: 0, alarms: 0 }
let counts = false

export class Organisation extends Built {
  constructor(state, env) {
    if (!counts) {
      counts = true
      const sql = Object.getPrototypeOf(state.storage.sql)
      const { exec } = sql
      sql.exec = function (...statement) {
        const cursor = exec.apply(this, statement)
        written.rows += cursor.rowsWritten
        return cursor
      }
      const storage = Object.getPrototypeOf(state.storage)
      const { setAlarm } = storage
      storage.setAlarm = function (...at) {
        written.alarms++
        return setAlarm.apply(this, at)
      }
    }
    super(state, env)
  }
}

export default {
  ...worker,
  fetch: (request, ...rest) =>
    new URL(request.url).pathname === '/bench/rows' ? Response.json({ ...written, counts }) : worker.fetch(request, ...rest),
}
`
