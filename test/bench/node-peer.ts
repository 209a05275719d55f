/**
 * Owns what a team would write instead of the gateway, as its own process: Fastify with reply-from, zod, and an audit table in
 * SQLite. Takes the same requests, checks the same things, and keeps the same records, each durable before it goes on; tuned
 * as the documentation of its parts says.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import replyFrom from '@fastify/reply-from'
import fastify, { type FastifyRequest } from 'fastify'
import * as z from 'zod'
import { sha256 } from '../../src/crypto.ts'

const [origin = '', base = '', folder = '', token = ''] = process.argv.slice(2)
const idLength = 20

const instant = z.iso.datetime({ offset: true })
const name = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^/\\%?#;\p{C}]+$/u)
const id = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)
const path = z.strictObject({ organisation: id, connection: id, version: name })
const body = z.strictObject({
  id: z.string().min(1),
  name,
  description: z.string().optional(),
  isLatest: z.boolean(),
  isDefault: z.boolean(),
  createdAt: instant,
  updatedAt: instant,
  publishedAt: instant.nullable(),
})

const db = new DatabaseSync(join(folder, 'audit.sqlite'))
// WAL for concurrent readers; FULL so that a commit is on disk when it returns.
db.exec(`
  pragma journal_mode = wal;
  pragma synchronous = full;
  create table tokens (id text primary key, digest blob not null) without rowid;
  create table audit (
    seq integer primary key, time integer not null, event text not null, actor text not null, organisation text not null,
    connection text not null, version text not null, request_id text not null, attempt integer, ip text, sha256 text,
    body text, status integer, ms integer
  );
  create index audit_by_actor on audit (actor);
  create index audit_by_connection on audit (connection);
  create index audit_by_request on audit (request_id);
`)
db.prepare('insert into tokens values (?, ?)').run(token.slice(0, idLength), sha256(token))
const findToken = db.prepare('select digest from tokens where id = ?')
const insert = db.prepare('insert into audit values (null, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')

interface Known {
  actor: string
  path: z.infer<typeof path>
  startedAt: number
  attempt: number | null
  sha256: string | null
}

function record(
  event: string,
  request: FastifyRequest,
  known: Known,
  text: string | null,
  status: number | null,
): number {
  const { organisation, connection, version } = known.path
  const now = Date.now()
  const ms = status === null ? null : now - known.startedAt
  const { actor, attempt } = known
  return Number(
    insert.run(
      now,
      event,
      actor,
      organisation,
      connection,
      version,
      request.id,
      attempt,
      request.ip,
      known.sha256,
      text,
      status,
      ms,
    ).lastInsertRowid,
  )
}

function knownOf(request: FastifyRequest): Known | undefined {
  const bearer = request.headers.authorization?.slice('Bearer '.length) ?? ''
  const row = findToken.get(bearer.slice(0, idLength)) as { digest: Uint8Array } | undefined
  if (!row || !timingSafeEqual(row.digest, sha256(bearer))) return undefined
  const actor = bearer.slice(0, idLength)
  return { actor, path: path.parse(request.params), startedAt: Date.now(), attempt: null, sha256: null }
}

const app = fastify({ logger: false, genReqId: () => crypto.randomUUID(), bodyLimit: 64 * 1024 })
app.register(replyFrom, {
  base: origin,
  undici: { connections: 128, pipelining: 1, keepAliveTimeout: 60_000 },
})

const route = '/o/:organisation/connections/:connection/versions/:version'
const headersOf = (_: unknown, headers: Record<string, unknown>) => ({
  accept: 'application/json',
  ...(headers['content-length'] === undefined
    ? {}
    : { 'content-type': 'application/json', 'content-length': headers['content-length'] }),
  cookie: 'cookie=sesame',
})

app.put(route, (request, reply) => {
  const known = knownOf(request)
  if (!known) return reply.code(401).send({ message: 'invalid token' })
  const parsed = body.safeParse(request.body)
  if (!parsed.success) return reply.code(400).send({ message: 'invalid body', issues: parsed.error.issues })
  const text = JSON.stringify(parsed.data)
  known.sha256 = createHash('sha256').update(text).digest('hex')
  known.attempt = record('update.attempted', request, known, text, null)
  return reply.from(base + request.url, {
    body: text,
    contentType: 'application/json',
    rewriteRequestHeaders: headersOf as never,
    onResponse(_, answer, upstream) {
      const { statusCode, stream } = upstream as unknown as { statusCode: number; stream: never }
      record(statusCode < 400 ? 'update.succeeded' : 'update.failed', request, known, null, statusCode)
      answer.send(stream)
    },
  })
})

app.get(route, (request, reply) => {
  const known = knownOf(request)
  if (!known) return reply.code(401).send({ message: 'invalid token' })
  return reply.from(base + request.url, {
    rewriteRequestHeaders: headersOf as never,
    onResponse(_, answer, upstream) {
      const { statusCode, stream } = upstream as unknown as { statusCode: number; stream: never }
      record(statusCode < 400 ? 'read.succeeded' : 'read.failed', request, known, null, statusCode)
      answer.send(stream)
    },
  })
})

await app.listen({ port: 0, host: '127.0.0.1' })
process.send?.(app.server.address())
process.on('disconnect', () => process.exit())
