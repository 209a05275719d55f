/**
 * Owns what gateway tests share: a gateway against a stand-in platform, callers over plain HTTP, and the search for
 * secrets in everything that it stored, logged and answered.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect } from 'vitest'
import { type ConnectionVersion, type Platform, startPlatform } from '../platform/platform.ts'
import { makeSecrets } from '../platform/secrets.ts'
import { type Bindings, type Runtime, startRuntime } from './runtime.ts'

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of every shape.
  json: any
}

export interface Ask {
  method?: string
  token?: string | undefined
  headers?: Record<string, string> | [string, string][]
  body?: string | object | Buffer
  /** Sends the body without a Content-Length. */
  chunked?: boolean
}

export interface Gateway {
  platform: Platform
  runtime: Runtime
  bindings: Bindings
  storage: string
  adminSecret: string
  logs: string[]
  /** Every answer so far, with what a test expects to hold a token or a hook's secret left out. */
  answers: string[]
  /** Every token that was given out. */
  tokens: string[]
  /** The organisations asked since their logs were last verified, with the receipts given out meanwhile. */
  unverified: Map<string, string[]>
  ask(path: string, options?: Ask): Promise<Answer>
  admin(method: string, path: string, body?: object, headers?: Record<string, string>): Promise<Answer>
  /** An organisation with a session and a token that may do everything. */
  organisation(scope?: object): Promise<{ id: string; token: string; tokenId: string }>
  /** Stops workerd and starts it anew on the same storage, with other bindings if given; `meanwhile` finds it stopped. */
  restart(bindings?: Bindings, meanwhile?: () => void): Promise<void>
  stop(): Promise<void>
}

let counter = 0

/** A new id in the form of a ULID. */
export function newId(): string {
  return `01TEST${String(++counter).padStart(6, '0')}${randomBytes(7).toString('hex').toUpperCase()}`
}

export function versionPath(organisation: string, connection: string, version: string): string {
  return `/o/${organisation}/connections/${connection}/versions/${encodeURIComponent(version)}`
}

export async function startGateway(overrides: Bindings = {}, bundle?: string): Promise<Gateway> {
  const platform = await startPlatform()
  const secrets = makeSecrets()
  const adminSecret = randomBytes(33).toString('base64url')
  const storage = mkdtempSync(join(tmpdir(), 'gateway-'))
  const logs: string[] = []
  const answers: string[] = []
  const bindings: Bindings = {
    UPSTREAM_BASE_URL: platform.baseUrl,
    UPSTREAM_TIMEOUT_MS: '3000',
    ...secrets,
    ADMIN_TOKEN: `alice:${adminSecret}`,
    ...overrides,
  }
  const gateway: Gateway = {
    platform,
    runtime: await startRuntime(storage, bindings, line => logs.push(line), bundle),
    bindings,
    storage,
    adminSecret,
    logs,
    answers,
    tokens: [],
    unverified: new Map(),
    async ask(path, options = {}) {
      const answer = await send(gateway.runtime.url, path, options)
      const told = answer.json?.token ?? answer.json?.secret
      if (told === undefined) answers.push(JSON.stringify(answer.headers) + answer.text)
      else if (answer.json.token !== undefined) gateway.tokens.push(told)
      const id = /^\/(?:o|admin\/organisations|webhooks)\/([A-Za-z0-9_-]{1,64})\//.exec(path)?.[1]
      if (id !== undefined) {
        const receipts = gateway.unverified.get(id) ?? []
        const receipt = answer.headers['audit-receipt']
        if (receipt !== undefined) receipts.push(String(receipt))
        gateway.unverified.set(id, receipts)
      }
      return answer
    },
    admin(method, path, body, headers = {}) {
      const json: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/json' }
      const ask: Ask = { method, token: adminSecret, headers: { ...json, ...headers } }
      if (body !== undefined) ask.body = body
      return gateway.ask(`/admin${path}`, ask)
    },
    async organisation(scope = {}) {
      const id = newId()
      const cookie = platform.cookie.replace(/^cookie=/, '')
      await gateway.admin('PUT', `/organisations/${id}/session`, { cookie })
      const made = await gateway.admin('POST', `/organisations/${id}/tokens`, {
        name: 'ci-deploy',
        connections: ['*'],
        rateLimit: { requests: 100_000, windowSeconds: 60 },
        ...scope,
      })
      if (made.status !== 201) throw new Error(`no token: ${made.status} ${made.text}`)
      return { id, token: made.json.token, tokenId: made.json.id }
    },
    async restart(changed = {}, meanwhile = () => {}) {
      await gateway.runtime.miniflare.dispose()
      meanwhile()
      Object.assign(bindings, changed)
      gateway.runtime = await startRuntime(storage, bindings, line => logs.push(line), bundle)
    },
    async stop() {
      await gateway.runtime.miniflare.dispose()
      await platform.stop()
      rmSync(storage, { recursive: true, force: true })
    },
  }
  return gateway
}

/**
 * The gateway of a test file: after each test the platform behaves again and every log that was touched is verified anew; at
 * the end it is stopped.
 */
export async function gatewayForTests(overrides: Bindings = {}): Promise<Gateway> {
  const gateway = await startGateway(overrides)
  afterEach(async () => {
    gateway.platform.behave()
    await verifyLogs(gateway)
  })
  afterAll(() => gateway.stop())
  return gateway
}

/** A version as the platform holds it, with changes: the body of an update. */
export function versionOf(
  { platform }: Gateway,
  organisation: string,
  changes: object = {},
  { connection = 'CONN1', version = '1.4.0' } = {},
): ConnectionVersion {
  const found = platform.get(organisation, connection, version)
  if (!found) throw new Error(`the stand-in platform has no version ${version}`)
  return { ...found, ...changes }
}

/** An update with a valid token and body but for what `options` say. */
export function put(
  gateway: Gateway,
  { id, token }: { id: string; token: string },
  options: Ask & { connection?: string; version?: string; changes?: object } = {},
): Promise<Answer> {
  const { connection = 'CONN1', version = '1.4.0', changes = { description: 'changed' }, ...ask } = options
  return gateway.ask(versionPath(id, connection, version), {
    method: 'PUT',
    token,
    headers: { 'Content-Type': 'application/json' },
    ...(ask.body === undefined ? { body: versionOf(gateway, id, changes, { connection, version }) } : {}),
    ...ask,
  })
}

/** Fires the cron trigger, and waits until it has run. */
export async function passHour({ runtime }: Gateway): Promise<void> {
  const worker: unknown = await runtime.miniflare.getWorker()
  const { outcome } = await (
    worker as { scheduled(options: object): Promise<{ outcome: string }> }
  ).scheduled({})
  expect(outcome).toBe('ok')
}

export interface Logged {
  /** The record's exact string. */
  line: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read records of every shape.
  record: any
}

/** The organisation's whole log, oldest first: read in pages, as an export would be one more record in it. */
export async function logOf(gateway: Pick<Gateway, 'admin'>, organisation: string): Promise<Logged[]> {
  const records: Logged['record'][] = []
  for (let before = ''; ; ) {
    const page = await gateway.admin('GET', `/organisations/${organisation}/audit?limit=1000${before}`)
    expect(page.status).toBe(200)
    records.push(...page.json.records)
    if (page.json.next === null) break
    before = `&before=${page.json.next}`
  }
  // A record's string is what JSON makes of it, once and again; receipts would not fit it otherwise.
  return records.reverse().map(record => ({ line: JSON.stringify(record), record }))
}

/** The events of an organisation's log, oldest first, without those by which it was set up. */
export async function eventsOf(gateway: Pick<Gateway, 'admin'>, organisation: string): Promise<string[]> {
  const log = await logOf(gateway, organisation)
  return log.map(({ record }) => record.event).filter(event => !/^(session\.set|token\.created)$/.test(event))
}

/** Expects the log of every organisation asked since the last time to be whole, and every receipt to be right. */
export async function verifyLogs(gateway: Pick<Gateway, 'admin' | 'unverified'>): Promise<void> {
  const asked = [...gateway.unverified]
  for (const [id, receipts] of asked) {
    const log = await logOf(gateway, id)
    const open = new Set<number>()
    let time = ''
    for (const [index, { record }] of log.entries()) {
      expect(record.seq).toBe(index + 1)
      expect(record.time >= time, `record ${record.seq} is older than the one before it`).toBe(true)
      time = record.time
      if (record.event === 'update.attempted') open.add(record.seq)
      if (/^update\.(succeeded|failed|unknown)$/.test(record.event)) {
        expect(open.delete(record.attempt), `record ${record.seq} closes an open attempt`).toBe(true)
      }
    }
    expect([...open], 'attempts without an outcome').toEqual([])
    for (const receipt of receipts) {
      const [seq = '', leaf] = receipt.split(':')
      const line = log[Number(seq) - 1]?.line ?? ''
      expect(createHash('sha256').update('\0').update(line).digest('hex')).toBe(leaf)
    }
  }
  gateway.unverified.clear()
}

/** One request as it is: paths and headers go out unchanged, repeated headers stay repeated. */
export function send(origin: string, path: string, options: Ask = {}): Promise<Answer> {
  const { method = 'GET', token, body, chunked = false } = options
  const given = options.headers ?? {}
  const headers = Array.isArray(given) ? [...given] : Object.entries(given)
  if (token !== undefined) headers.push(['Authorization', `Bearer ${token}`])
  const payload =
    body === undefined
      ? undefined
      : typeof body === 'string' || Buffer.isBuffer(body)
        ? body
        : JSON.stringify(body)
  const { hostname, port, host } = new URL(origin)
  if (!headers.some(([name]) => name === 'Host')) headers.push(['Host', host])
  if (payload !== undefined && !chunked) headers.push(['Content-Length', String(Buffer.byteLength(payload))])
  if (payload !== undefined && chunked) headers.push(['Transfer-Encoding', 'chunked'])
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, path, method, headers: headers.flat() as never })
    request.on('error', reject)
    request.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parse(text) })
      })
    })
    request.end(payload)
  })
}

/** What comes back for a body whose end `headers` say to be elsewhere, after which the caller hangs up. */
export function sendFramed(
  origin: string,
  method: string,
  path: string,
  headers: readonly string[],
  body: string,
): Promise<string> {
  const { hostname, port, host } = new URL(origin)
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), hostname)
    socket.on('data', chunk => {
      text += chunk
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
    const head = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...headers]
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Where any of the secrets turns up: in the names of stored files, log lines or answers. */
export function sightings(gateway: Gateway, secrets: string | readonly string[]): string[] {
  const wanted = typeof secrets === 'string' ? [secrets] : secrets
  const holds = (text: string | Buffer) => wanted.some(secret => text.includes(secret))
  const files = filesUnder(gateway.storage).filter(file => holds(contentOf(file)))
  const lines = gateway.logs.filter(holds).map(() => 'a log line')
  const answers = gateway.answers.filter(holds).map(() => 'an answer')
  return [...files, ...lines, ...answers]
}

export function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
}

/** What a stored file holds; nothing if it goes away meanwhile, as SQLite's side files do. */
export function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}
