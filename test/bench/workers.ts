/**
 * Owns the Workers that the gateway is measured beside, as the texts that workerd runs: what passes a request through, what
 * does so in an object, and what counts the rows that the gateway's object writes.
 */

import { version } from './version.ts'

/** The limit of the platform: nothing but the way to the upstream and back. */
export const bare = `
export default {
  fetch: (request, env) => fetch(env.UPSTREAM_BASE_URL + new URL(request.url).pathname, request),
}
`

/** One call of an object, which passes the request on through one of five slots. `call` is how; it answers with `{ status, body }`. */
const passing = (call: string) => `
import { DurableObject } from 'cloudflare:workers'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class Hop extends DurableObject {
  #free = 5
  #waiting = []

  async pass(url, method, body) {
    if (this.#free > 0) this.#free--
    else await new Promise(resolve => this.#waiting.push(resolve))
    try {
      ${call}
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

/** The limit of the design. */
export const hop = passing(`
      const response = await fetch(url, { method, body, headers: { 'Content-Type': 'application/json' } })
      return { status: response.status, body: await response.text() }
`)

/** The same, with what no gateway could leave out around the call: a deadline, an answer that is bounded and strict, headers of its own. */
export const guarded = passing(`
      const abort = new AbortController()
      const timer = setTimeout(() => abort.abort(), 10_000)
      const headers = {
        Accept: 'application/json',
        'Content-Type': 'application/json',
        Cookie: 'session=0123456789abcdef0123456789abcdef',
        'User-Agent': 'hop',
        Via: '1.1 hop',
        'X-Request-Id': crypto.randomUUID(),
        'Cache-Control': 'no-store',
      }
      const response = await fetch(url, { method, body, headers, redirect: 'manual', cache: 'no-store', signal: abort.signal })
      const said = response.headers
      const room = Number(said.get('Content-Length')) + 1
      if (room > 131072) throw new Error('too long')
      const { value } = await response.body.getReader({ mode: 'byob' }).readAtLeast(room, new Uint8Array(room))
      if (value.byteLength === room) throw new Error('longer than it says')
      const text = decoder.decode(value)
      clearTimeout(timer)
      if (said.get('Content-Type') !== 'application/json' || said.getSetCookie().length > 0) throw new Error('not as it should be')
      return { status: response.status, body: text }
`)

/** Says what the upstream says, without it. */
export const immediate = `
const body = ${JSON.stringify(JSON.stringify(version))}
export default { fetch: () => new Response(body, { headers: { 'Content-Type': 'application/json' } }) }
`

/**
 * The built gateway, with its rate limiter counted in memory, as Cloudflare's is: miniflare's stand-in for it is a Durable
 * Object that writes a row at each call, and would be all that the refusals show. `object` says what its object does
 * instead, and `edge` what stands for the object's namespace where a caller's request comes in.
 */
export const entryWith = ({ object = '', edge = 'undefined' }: { object?: string; edge?: string }) => `
import worker, { Organisation as Built } from './built.js'
export { Directory } from './built.js'
export class Organisation extends Built { ${object} }

const counts = new Map()
const ADDRESS_LIMIT = {
  async limit({ key }) {
    counts.set(key, (counts.get(key) ?? 0) + 1)
    return { success: true }
  },
}
const ORGANISATION = ${edge}
let bound
let fixed

export default {
  ...worker,
  fetch(request, env, context) {
    bound ??= { ...env, ADDRESS_LIMIT }
    fixed ??= { ...bound, ORGANISATION: ORGANISATION ?? env.ORGANISATION }
    return worker.fetch(request, request.url.includes('/o/') ? fixed : bound, context)
  },
}
`
export const entry = entryWith({})

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
