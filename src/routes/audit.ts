/**
 * Owns reading the audit log under /admin: a page, an export, one record, and what proves them. Gives out the exact strings
 * that were stored and hashed; never writes one anew.
 */
import type { Context, MiddlewareHandler } from 'hono'
import { Hono } from 'hono/tiny'
import { ok, type Result, refuse } from '../errors.ts'
import {
  acknowledgement,
  auditQuery,
  consistencyQuery,
  proofQuery,
} from '../organisation/audit-parameters.ts'
import { parseAuditQuery } from '../organisation/audit-query.ts'
import type { Organisation } from '../organisation/organisation.ts'
import { adminCall, maxBodyBytes, reply } from './admin.ts'
import { ask, problem } from './answer.ts'
import { type AppEnv, allow, hostOf, jsonBody, originOf, validBody, validQuery } from './context.ts'

const json = { 'Content-Type': 'application/json' }

export function audit() {
  const audit = new Hono<AppEnv>()

  const log = '/organisations/:organisation_id/audit'
  audit.use(log, allow('GET')).get(log, validQuery(auditQuery()), async c => {
    const query = parseAuditQuery(c.req.valid('query'))
    const id = c.req.param('organisation_id')
    if (/\bapplication\/x-ndjson\b/i.test(c.req.header('Accept') ?? '')) {
      const call = { ...originOf(c), reader: c.get('reader') }
      const asked = await ask<Result<ReadableStream>>(c, id, organisation =>
        organisation.audit.export(call, query),
      )
      const exported = asked.ok ? asked.value : asked
      if (!exported.ok) return problem(c, exported.refusal)
      if (exported.receipt) c.header('Audit-Receipt', exported.receipt)
      return c.body(exported.value, 200, { 'Content-Type': 'application/x-ndjson' })
    }
    const page = await evidence(c, organisation => organisation.audit.page(query))
    if (!page.ok) return problem(c, page.refusal)
    const { records, next } = page.value
    return c.body(`{"records":[${records.join(',')}],"next":${next}}`, 200, json)
  })

  // Before the numbers: these are none.
  audit.use(`${log}/checkpoint`, allow('GET')).get(`${log}/checkpoint`, async c => {
    const name = { organisationId: c.req.param('organisation_id'), host: hostOf(c) }
    const signed = await evidence(c, organisation => organisation.audit.checkpoint(name))
    return signed.ok ? c.text(signed.value) : problem(c, signed.refusal)
  })

  audit.use(`${log}/leaves`, allow('GET')).get(`${log}/leaves`, async c => {
    const stream = await evidence(c, async organisation => organisation.audit.leaves())
    if (!stream.ok) return problem(c, stream.refusal)
    return c.body(stream.value, 200, { 'Content-Type': 'text/plain;charset=UTF-8' })
  })

  const archive = `${log}/archive`
  audit
    .use(archive, allow('GET'))
    .get(archive, c => reply(c, 200, async organisation => ok(await organisation.audit.archive())))

  audit
    .use(`${archive}/acknowledge`, allow('POST'))
    .post(`${archive}/acknowledge`, jsonBody(maxBodyBytes, problem), validBody(acknowledgement()), c =>
      reply(c, 200, organisation => organisation.audit.acknowledge(adminCall(c), c.req.valid('json').sha256)),
    )

  audit
    .use(`${log}/consistency`, allow('GET'))
    .get(`${log}/consistency`, validQuery(consistencyQuery()), async c => {
      const { from, to } = c.req.valid('query')
      const proof = await evidence(c, organisation =>
        organisation.audit.consistency(Number(from), numberOf(to)),
      )
      return proof.ok ? c.json(proof.value) : problem(c, proof.refusal)
    })

  audit
    .use(`${log}/:seq/proof`, allow('GET'), recordNumber())
    .get(`${log}/:seq/proof`, validQuery(proofQuery()), async c => {
      const size = numberOf(c.req.valid('query').size)
      const proof = await evidence(c, organisation =>
        organisation.audit.inclusion(Number(c.req.param('seq')), size),
      )
      return proof.ok ? c.json(proof.value) : problem(c, proof.refusal)
    })

  audit.use(`${log}/:seq`, allow('GET'), recordNumber()).get(`${log}/:seq`, async c => {
    const seq = Number(c.req.param('seq'))
    const record = await evidence(c, organisation => organisation.audit.record(seq))
    if (!record.ok) return problem(c, record.refusal)
    if (record.value === undefined)
      return problem(c, { code: 'not-found', detail: 'There is no record with this number.' })
    return c.body(record.value, 200, json)
  })
  return audit
}

function recordNumber(): MiddlewareHandler<AppEnv> {
  return async function recordNumber(c, next) {
    if (/^[1-9]\d{0,14}$/.test(c.req.param('seq') ?? '')) return next()
    const fields = [{ field: 'seq', message: 'must be a record number' }]
    return problem(c, { code: 'invalid-path', fields })
  }
}

async function evidence<T>(
  c: Context<AppEnv>,
  call: (organisation: DurableObjectStub<Organisation>) => Promise<Result<T>>,
): Promise<Result<T>> {
  const asked = await ask(c, c.req.param('organisation_id') ?? '', call)
  return asked.ok ? asked.value : refuse(asked.refusal)
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}
