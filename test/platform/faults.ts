// The ways in which the stand-in platform can misbehave, and how each looks on the wire. It never decides
// when: the stand-in's queue does, and it never changes a version itself: `behave` does.
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { type Answer, refusal } from './versions.ts'

/** "Applied" means: handled as the platform would, so an update that it refuses changes nothing. */
export type Fault =
  /** Waits, then behaves; also when the caller has gone meanwhile. */
  | { kind: 'slow'; ms: number }
  /** Never answers. */
  | { kind: 'hang'; apply?: boolean }
  /** Waits for the test (see `Platform.hold`), then does `then`, or behaves. */
  | { kind: 'hold'; gate: Gate; then?: Fault }
  /** Not applied; the connection ends. */
  | { kind: 'drop-before' }
  /** Applied; the connection ends without an answer. */
  | { kind: 'drop-after' }
  /** Applied; the connection ends in the middle of the body. */
  | { kind: 'half' }
  /** Applied; the body comes byte by byte. */
  | { kind: 'trickle'; ms: number }
  /** Behaves; the body comes without a length, or packed, with the length that it has so. */
  | { kind: 'framed'; how: 'chunked' | 'gzip' }
  /**
   * Not applied. Leads to the stand-in itself unless `location` says otherwise, so that following it shows.
   */
  | { kind: 'redirect'; status?: number; location?: string }
  /** Any status, with an Error unless `body` is given. Not applied unless `apply`. */
  | {
      kind: 'status'
      status: number
      body?: string
      contentType?: string
      retryAfter?: string
      apply?: boolean
    }
  /** A login page. Not applied. */
  | { kind: 'html'; status?: number }
  /** Applied; the answer is JSON of more than `bytes`, which is short while it is packed. */
  | { kind: 'oversized'; bytes: number; packed?: boolean }
  /** Applied; more than 128 KiB come, and then neither more nor an end: in chunks, packed, or in chunks with a length too. */
  | { kind: 'endless'; how: 'chunked' | 'gzip' | 'both' }
  /** Applied; the answer is a 200 that says so in words. */
  | { kind: 'not-json' }
  /** Behaves, with these Set-Cookie headers. */
  | { kind: 'set-cookie'; cookies: string[] }
  /**
   * Behaves; a 200 carries the values of the received cookies in its description, after `prefix` if `base64`.
   */
  | { kind: 'echo'; encoding: 'raw' | 'percent' | 'base64' | 'json'; prefix?: string }

export interface Gate {
  arrive(): void
  opened: Promise<void>
}

export interface Exchange {
  response: ServerResponse
  /** The Cookie header as it came. */
  cookie: string
  origin: string
  /** Aborts when the stand-in is reset or stopped. */
  signal: AbortSignal
  /** Handles the request as the platform would. Called once at most. */
  behave(): Answer
}

type Headers = Record<string, string | number | string[]>

/** Rejects when `signal` aborts while the fault still waits. */
export async function misbehave(fault: Fault, exchange: Exchange): Promise<void> {
  const { response, signal, behave } = exchange
  switch (fault.kind) {
    case 'slow':
      await delay(fault.ms, undefined, { signal })
      return answer(response, behave())
    case 'hang':
      if (fault.apply) behave()
      return unless(signal, new Promise(() => {}))
    case 'hold':
      fault.gate.arrive()
      await unless(signal, fault.gate.opened)
      return fault.then ? misbehave(fault.then, exchange) : answer(response, behave())
    case 'drop-before':
      return drop(response)
    case 'drop-after':
      behave()
      return drop(response)
    case 'half': {
      const { status, body } = behave()
      const bytes = Buffer.from(JSON.stringify(body))
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': bytes.length })
      response.write(bytes.subarray(0, bytes.length >> 1), () => drop(response))
      return
    }
    case 'trickle': {
      const { status, body } = behave()
      const bytes = Buffer.from(JSON.stringify(body))
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': bytes.length })
      for (let i = 0; i < bytes.length && !response.destroyed; i++) {
        response.write(bytes.subarray(i, i + 1))
        await delay(fault.ms, undefined, { signal })
      }
      response.end()
      return
    }
    case 'framed': {
      const { status, body } = behave()
      if (fault.how === 'gzip') return pack(response, status, body)
      return void response.writeHead(status, JSON_TYPE).end(JSON.stringify(body))
    }
    case 'redirect':
      return send(response, fault.status ?? 302, '', {
        Location: fault.location ?? `${exchange.origin}/login`,
      })
    case 'status': {
      const { status, contentType = 'application/json', retryAfter } = fault
      if (fault.apply) behave()
      const body =
        fault.body ?? JSON.stringify(refusal(status, `status_${status}`, `told to answer ${status}`).body)
      const headers: Headers = retryAfter === undefined ? {} : { 'Retry-After': retryAfter }
      return send(response, status, body, { 'Content-Type': contentType, ...headers })
    }
    case 'html':
      return send(response, fault.status ?? 200, LOGIN_PAGE, { 'Content-Type': 'text/html; charset=utf-8' })
    case 'oversized': {
      const { status, body } = behave()
      const large = { ...body, description: 'x'.repeat(fault.bytes) }
      return fault.packed ? pack(response, status, large) : answer(response, { status, body: large })
    }
    case 'endless': {
      const { status, body } = behave()
      // Of what can't be packed much, so that most of it shows before the end.
      const text = JSON.stringify({ ...body, description: randomBytes(300_000).toString('base64') })
      if (fault.how === 'chunked') response.writeHead(status, JSON_TYPE).write(text)
      else if (fault.how === 'gzip') {
        const packed = gzipSync(text)
        response.writeHead(status, {
          ...JSON_TYPE,
          'Content-Encoding': 'gzip',
          'Content-Length': packed.length,
        })
        response.write(packed.subarray(0, -1_000))
      } else {
        // Both at once is nothing that Node would send (RFC 9112, section 6.3: the chunks count).
        const head =
          'Content-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'
        response.socket?.write(`HTTP/1.1 ${status} OK\r\n${head}${text.length.toString(16)}\r\n${text}`)
      }
      return unless(signal, new Promise(() => {}))
    }
    case 'not-json':
      behave()
      return send(response, 200, 'version updated', { 'Content-Type': 'text/plain' })
    case 'set-cookie':
      return answer(response, behave(), { 'Set-Cookie': fault.cookies })
    case 'echo': {
      const { status, body } = behave()
      if (status !== 200) return answer(response, { status, body })
      const json = JSON.stringify({ ...body, description: 'ECHO' })
      const values = cookieValues(exchange.cookie).map(value => encode(fault, value))
      return send(
        response,
        status,
        json.replace('"ECHO"', () => `"${values.join(' ')}"`),
        JSON_TYPE,
      )
    }
  }
}

const JSON_TYPE = { 'Content-Type': 'application/json' }
const LOGIN_PAGE = '<!doctype html><title>Sign in</title><form method="post" action="/login"></form>'

export function answer(response: ServerResponse, { status, body }: Answer, headers: Headers = {}): void {
  send(response, status, JSON.stringify(body), { ...JSON_TYPE, ...headers })
}

export function drop(response: ServerResponse): void {
  response.socket?.destroy()
}

function send(response: ServerResponse, status: number, body: string, headers: Headers): void {
  response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) }).end(body)
}

function unless(signal: AbortSignal, wait: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    wait.then(resolve).finally(() => signal.removeEventListener('abort', abort))
  })
}

function cookieValues(header: string): string[] {
  return header.split(';').map(pair => pair.slice(pair.indexOf('=') + 1).trim())
}

/** Answers in gzip, with the length that this has. */
function pack(response: ServerResponse, status: number, body: object): void {
  const packed = gzipSync(JSON.stringify(body))
  const headers = { ...JSON_TYPE, 'Content-Encoding': 'gzip', 'Content-Length': packed.length }
  response.writeHead(status, headers).end(packed)
}

/** The result stands between the quotes of a JSON string as it is. */
function encode(fault: Fault & { kind: 'echo' }, value: string): string {
  const hex = (byte: number) => byte.toString(16).padStart(2, '0')
  const bytes = [...Buffer.from(value)]
  switch (fault.encoding) {
    case 'raw':
      return JSON.stringify(value).slice(1, -1)
    case 'percent':
      return bytes.map(byte => `%${hex(byte).toUpperCase()}`).join('')
    case 'base64':
      return Buffer.from((fault.prefix ?? 'x') + value).toString('base64')
    case 'json':
      return [...value].map(char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
  }
}
