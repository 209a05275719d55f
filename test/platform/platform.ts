// The stand-in for the Versori platform: an HTTP server on loopback that checks the cookie, keeps versions in
// memory, shows tests all that it received and misbehaves on demand. It never writes to disk and never calls
// anyone.
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { answer, drop, type Exchange, type Fault, misbehave } from './faults.ts'
import { type Answer, type ConnectionVersion, refusal, type Target, Versions } from './versions.ts'

export type { Fault } from './faults.ts'
export type { ConnectionVersion, PlatformError } from './versions.ts'

const BASE_PATH = '/api/connect/v1alpha1'

export interface Received {
  /** Milliseconds since the epoch, when the last byte of the body was here. */
  time: number
  method: string
  /** Path and query as they came, nothing decoded. */
  url: string
  /** In order, names as sent. */
  headers: [name: string, value: string][]
  body: string
  bodySha256: string
}

export interface Applied {
  time: number
  organisationId: string
  connectionId: string
  id: string
  /** As the path named it: may be `latest`, `default` or the name before a renaming. */
  version: string
  body: string
  requestId: string | undefined
}

export interface Selector {
  /** How many requests; default 1, `Infinity` for all. */
  times?: number
  method?: string
  connectionId?: string
}

export interface Platform {
  readonly baseUrl: string
  /** The one Cookie header that is accepted. Settable: an expired session is a new value here. */
  cookie: string
  readonly received: readonly Received[]
  /** The updates that took effect, in their order. */
  readonly history: readonly Applied[]
  /** A copy of what is stored. */
  get(organisationId: string, connectionId: string, version: string): ConnectionVersion | undefined
  /** Replaces the connection's versions; without it a connection starts with three. */
  seed(organisationId: string, connectionId: string, versions: readonly ConnectionVersion[]): void
  /** Queues a fault. Of those queued, a request gets the first that matches it, and no more than one. */
  misbehave(fault: Fault, selector?: Selector): void
  /** Queues a gate: a request waits there, unanswered and not applied, until it is released. */
  hold(options?: Selector & { then?: Fault }): { arrived: Promise<void>; release(): void }
  /** Drops the faults that are queued; those under way go on. */
  behave(): void
  /** Back to the start, but for the cookie. Requests that still wait are dropped without effect. */
  reset(): void
  stop(): Promise<void>
}

export interface PlatformOptions {
  port?: number
  host?: string
  /** The exact Cookie header to accept; random if left out. */
  cookie?: string
}

export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const { port = 0, host = '127.0.0.1', cookie = `cookie=${randomBytes(24).toString('base64url')}` } = options
  const versions = new Versions()
  const received: Received[] = []
  const history: Applied[] = []
  let queue: { fault: Fault; selector: Selector; left: number }[] = []
  let run = new AbortController()

  function behave(request: IncomingMessage, body: string): Answer {
    if (request.headers.cookie !== platform.cookie) {
      return refusal(401, 'unauthenticated', 'the session is missing, wrong or expired')
    }
    const target = targetOf(request)
    if (target && request.method === 'GET') return versions.read(target)
    if (target && request.method === 'PUT') {
      const answer = versions.update(target, body)
      if ('id' in answer.body) {
        const requestId = request.headers['x-request-id']?.toString()
        history.push({ time: Date.now(), ...target, id: answer.body.id, body, requestId })
      }
      return answer
    }
    return refusal(404, 'not_found', `there is no ${request.method} ${request.url}`)
  }

  function takeFault(request: IncomingMessage): Fault | undefined {
    const { method } = request
    const connectionId = targetOf(request)?.connectionId
    const match = queue.find(
      ({ selector }) =>
        (selector.method === undefined || selector.method === method) &&
        (selector.connectionId === undefined || selector.connectionId === connectionId),
    )
    if (match) match.left--
    queue = queue.filter(({ left }) => left > 0)
    return match?.fault
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { signal } = run
    try {
      const bytes = await buffer(request)
      signal.throwIfAborted()
      const body = bytes.toString()
      received.push({
        time: Date.now(),
        method: request.method ?? '',
        url: request.url ?? '',
        headers: pairs(request.rawHeaders),
        body,
        bodySha256: createHash('sha256').update(bytes).digest('hex'),
      })
      const exchange: Exchange = {
        response,
        cookie: request.headers.cookie ?? '',
        origin: `http://${request.headers.host}`,
        signal,
        behave: () => behave(request, body),
      }
      const fault = takeFault(request)
      if (fault) await misbehave(fault, exchange)
      else answer(response, exchange.behave())
    } catch (error) {
      // Reset, stopped, or a caller that left before its body was complete; anything else is a bug of the
      // stand-in.
      if (signal.aborted || !request.complete || response.headersSent) return drop(response)
      answer(response, refusal(500, 'stand_in', 'the stand-in platform failed', { cause: String(error) }))
    }
  }

  const server = createServer(serve)
  // An idle connection that the server closes just as a request comes in would look like a fault to the
  // caller.
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })

  const platform: Platform = {
    baseUrl: `http://${host}:${(server.address() as AddressInfo).port}${BASE_PATH}`,
    cookie,
    received,
    history,
    get(organisationId, connectionId, version) {
      return structuredClone(versions.find({ organisationId, connectionId, version }))
    },
    seed(organisationId, connectionId, seeds) {
      versions.seed({ organisationId, connectionId }, seeds)
    },
    misbehave(fault, selector = {}) {
      queue.push({ fault, selector, left: selector.times ?? 1 })
    },
    hold({ then, ...selector } = {}) {
      const arrived = Promise.withResolvers<void>()
      const opened = Promise.withResolvers<void>()
      const gate = { arrive: arrived.resolve, opened: opened.promise }
      platform.misbehave({ kind: 'hold', gate, then }, selector)
      return { arrived: arrived.promise, release: opened.resolve }
    },
    behave() {
      queue = []
    },
    reset() {
      run.abort()
      run = new AbortController()
      queue = []
      versions.clear()
      received.length = 0
      history.length = 0
    },
    async stop() {
      run.abort()
      const closed = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
  return platform
}

function targetOf(request: IncomingMessage): Target | undefined {
  const path = request.url?.split('?')[0] ?? ''
  const match = /^\/o\/([^/]+)\/connections\/([^/]+)\/versions\/([^/]+)$/.exec(
    path.startsWith(BASE_PATH) ? path.slice(BASE_PATH.length) : '',
  )
  if (!match) return undefined
  try {
    const [organisationId = '', connectionId = '', version = ''] = match.slice(1).map(decodeURIComponent)
    return { organisationId, connectionId, version }
  } catch {
    return undefined
  }
}

function pairs(rawHeaders: string[]): [string, string][] {
  return rawHeaders.flatMap((name, i): [string, string][] => (i % 2 ? [] : [[name, rawHeaders[i + 1] ?? '']]))
}
