/**
 * Owns reading the audit log under /admin: a page, an export, one record. Gives out the exact strings that were stored
 * and hashed; never writes one anew.
 */
import { Hono } from 'hono/tiny'
import { auditQuery, parseAuditQuery } from '../organisation/audit-query.ts'
import { ask, problem } from './answer.ts'
import { type AppEnv, allow, validQuery } from './context.ts'

const json = { 'Content-Type': 'application/json' }

export const audit = new Hono<AppEnv>()

const log = '/organisations/:organisation_id/audit'
audit.use(log, allow('GET')).get(log, validQuery(auditQuery), async c => {
  const query = parseAuditQuery(c.req.valid('query'))
  const id = c.req.param('organisation_id')
  if (/\bapplication\/x-ndjson\b/i.test(c.req.header('Accept') ?? '')) {
    const stream = await ask(c, id, organisation => organisation.auditExport(query))
    if (!stream.ok) return problem(c, stream.refusal)
    return c.body(stream.value, 200, { 'Content-Type': 'application/x-ndjson' })
  }
  const page = await ask(c, id, organisation => organisation.auditPage(query))
  if (!page.ok) return problem(c, page.refusal)
  const { records, next } = page.value
  return c.body(`{"records":[${records.join(',')}],"next":${next}}`, 200, json)
})

audit.use(`${log}/:seq`, allow('GET')).get(`${log}/:seq`, async c => {
  const text = c.req.param('seq')
  const seq = /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined
  if (seq === undefined) {
    return problem(c, {
      code: 'invalid-path',
      fields: [{ field: 'seq', message: 'must be a record number' }],
    })
  }
  const record = await ask(c, c.req.param('organisation_id'), organisation => organisation.auditRecord(seq))
  if (!record.ok) return problem(c, record.refusal)
  if (record.value === undefined)
    return problem(c, { code: 'not-found', detail: 'There is no record with this number.' })
  return c.body(record.value, 200, json)
})
