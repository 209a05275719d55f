/**
 * Owns the receiver of alerts in tests: an HTTP server on loopback that keeps what came, verifies it on its own terms, and
 * misbehaves on demand. Knows nothing of the gateway's source.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface Alert {
  at: number
  path: string
  headers: IncomingHttpHeaders
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read messages of every shape.
  body: any
}

/** How one request is taken; `hang` is never answered. */
export type Mood = 'hang' | 'drop' | { status: number; headers?: Record<string, string>; body?: string }

export interface Receiver {
  url: string
  secret: string
  received: Alert[]
  /** Taken one a request, then `mood`. */
  moods: Mood[]
  mood: Mood
  /** Waits until a message satisfies the test. */
  until(test: (alert: Alert) => boolean): Promise<Alert>
  stop(): Promise<void>
}

/** Messages of a type in `apart` are taken well and not kept: they come beside what a test is about. */
export async function startReceiver({ apart }: { apart?: string } = {}): Promise<Receiver> {
  const key = randomBytes(32)
  const server = createServer(async (request, response) => {
    const text = (await buffer(request)).toString('utf8')
    const { url: path = '', headers, method } = request
    const body = method === 'POST' ? JSON.parse(text) : undefined
    if (apart !== undefined && body?.type === apart) return void response.writeHead(204).end()
    receiver.received.push({ at: Date.now(), path: `${method} ${path}`, headers, text, body })
    const mood = receiver.moods.shift() ?? receiver.mood
    if (mood === 'hang') return
    if (mood === 'drop') return void request.socket.destroy()
    response.writeHead(mood.status, mood.headers).end(mood.body)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}/hooks/path-that-is-as-good-as-a-password?key=query-as-well`,
    secret: `whsec_${key.toString('base64')}`,
    received: [],
    moods: [],
    mood: { status: 204 },
    async until(test) {
      for (;;) {
        const found = receiver.received.find(test)
        if (found) return found
        await new Promise(resolve => setTimeout(resolve, 10))
      }
    },
    stop() {
      server.closeAllConnections()
      return new Promise(resolve => server.close(() => resolve()))
    },
  }
  return receiver
}

/** Whether a message is signed with a secret (Standard Webhooks), has no full stop in its id, and is not older than five minutes. */
export function verified({ headers, text }: Alert, secret: string): boolean {
  const id = String(headers['webhook-id'])
  const timestamp = headers['webhook-timestamp']
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.${text}`).digest('base64')
  const fresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300
  return fresh && !id.includes('.') && headers['webhook-signature'] === `v1,${expected}`
}
