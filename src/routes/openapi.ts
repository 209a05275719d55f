/**
 * Owns the description of the API (OpenAPI 3.1), from the very schemas that check requests. The Worker serves what
 * `npm run openapi` wrote to openapi.json: zod's JSON Schema alone would be a fifth of the bundle. Tests compare that
 * file with this one, and its paths with the router's.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { problems } from '../errors.ts'
import {
  acknowledgement,
  auditQuery,
  consistencyQuery,
  proofQuery,
} from '../organisation/audit-parameters.ts'
import { hookChange, newHook, sample, secretRotation } from '../organisation/new-hook.ts'
import { newSession } from '../organisation/new-session.ts'
import { newToken, rotation } from '../organisation/new-token.ts'
import { connectionVersion } from '../update/connection-version.ts'
import { listQuery } from './admin.ts'
import { deliveryQuery } from './hooks.ts'
import { type Json, json, operation, query, reference, schema, strings } from './openapi-operation.ts'

/** The document. */
export function openapi(): Json {
  return {
    openapi: '3.1.1',
    info: {
      title: 'versori-gateway',
      version: '1',
      description: 'Tokens in, the platform session never out, every update on record.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: [
      { name: 'versions', description: 'What callers do with a token' },
      { name: 'webhooks', description: 'What senders post events to' },
      { name: 'admin', description: 'Tokens, sessions, hooks and organisations' },
      { name: 'audit', description: 'Reading the log' },
      { name: 'meta', description: 'What the gateway says of itself' },
    ],
    paths: paths(),
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'vgw_ and 65 characters, made by an administrator',
        },
        admin: { type: 'http', scheme: 'bearer', description: 'A secret of ADMIN_TOKEN' },
        auditor: {
          type: 'http',
          scheme: 'bearer',
          description: 'A secret of AUDITOR_TOKEN, which only reads',
        },
      },
      responses: {
        Problem: {
          description: 'A problem (RFC 9457)',
          content: { 'application/problem+json': { schema: reference('Problem') } },
        },
      },
      schemas: {
        ConnectionVersion: schema(connectionVersion),
        MergePatch: { type: 'object', description: 'RFC 7396, over a ConnectionVersion' },
        NewToken: schema(newToken()),
        Rotation: schema(rotation()),
        Acknowledgement: schema(acknowledgement()),
        NewSession: schema(newSession()),
        NewHook: schema(newHook()),
        HookChange: schema(hookChange()),
        SecretRotation: schema(secretRotation()),
        Sample: schema(sample()),
        Event: { description: 'Whatever the sender sends: at most 1 MiB of JSON' },
        Problem: {
          type: 'object',
          required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'message'],
          properties: {
            ...strings('type', 'title', 'detail', 'instance', 'message', 'upstreamCode', 'cause'),
            status: { type: 'integer' },
            code: { enum: Object.keys(problems) },
            fields: { type: 'array', items: { type: 'object', properties: strings('field', 'message') } },
            outcome: { enum: ['not-sent', 'not-applied', 'applied', 'unknown'] },
          },
        },
      },
    },
  }
}

/** What is only read is for both. */
const readers = [{ admin: [] }, { auditor: [] }]

function paths(): Json {
  const version = '/o/{organisation_id}/connections/{connection_id}/versions/{version}'
  const organisation = '/admin/organisations/{organisation_id}'
  const token = `${organisation}/tokens/{token_id}`
  const text = (what: string) => ({
    description: what,
    content: { 'text/plain': { schema: { type: 'string' } } },
  })
  const conditions = ['Idempotency-Key', 'If-Match'].map(name => ({
    name,
    in: 'header',
    schema: { type: 'string' },
  }))
  const held = {
    description: 'The version, as the platform holds it',
    headers: Object.fromEntries(
      ['ETag', 'Audit-Receipt', 'RateLimit', 'RateLimit-Policy'].map(name => [
        name,
        { schema: { type: 'string' } },
      ]),
    ),
    content: { 'application/json': { schema: reference('ConnectionVersion') } },
  }
  const op = operation('versions')
  const admin = operation('admin', [{ admin: [] }])
  const list = operation('admin', readers)
  const audit = operation('audit', readers)
  const meta = operation('meta', [])
  const page = query(listQuery())
  return {
    [version]: {
      get: op('getVersion', 'Read a version', version, { 200: held }),
      put: op(
        'updateVersion',
        'Update a version',
        version,
        { 200: held },
        { body: 'ConnectionVersion', parameters: conditions },
      ),
      patch: op(
        'patchVersion',
        'Change some fields of a version',
        version,
        { 200: held },
        { body: 'MergePatch', mediaType: 'application/merge-patch+json', parameters: conditions },
      ),
    },
    '/o/{organisation_id}/token': {
      get: op('getOwnToken', 'What this token may do', '/o/{organisation_id}', { 200: json('The token') }),
    },
    '/o/{organisation_id}/receipts/{seq}': {
      get: op('getReceipt', 'One of the own records, with its proof', '/o/{organisation_id}/{seq}', {
        200: json('record, leaf, proof and checkpoint'),
      }),
    },
    '/webhooks/{organisation_id}/{hook_id}': {
      post: operation('webhooks', [])(
        'receiveEvent',
        'Take an event, signed as its hook asks',
        '/{organisation_id}/{hook_id}',
        { 200: json('It was taken before'), 202: json('It will be delivered, or is ignored') },
        { body: 'Event' },
      ),
    },
    '/admin/organisations': {
      get: list('listOrganisations', 'List organisations', '', { 200: json('A page') }, { parameters: page }),
    },
    '/admin/reseal': {
      post: admin(
        'reseal',
        'Seal every session with the newest key',
        '',
        { 200: json('Counts') },
        { parameters: page },
      ),
    },
    [`${organisation}/tokens`]: {
      get: list('listTokens', 'List tokens', organisation, { 200: json('The tokens') }),
      post: admin(
        'createToken',
        'Make a token',
        organisation,
        { 201: json('The token, shown this once') },
        { body: 'NewToken' },
      ),
    },
    [token]: {
      get: list('getToken', 'Show a token', token, { 200: json('The token') }),
      delete: admin('revokeToken', 'Revoke a token', token, { 200: json('The token and its last use') }),
    },
    [`${token}/rotate`]: {
      post: admin(
        'rotateToken',
        'Give a token a new secret',
        token,
        { 201: json('The token, shown this once') },
        { body: 'Rotation' },
      ),
    },
    [`${organisation}/session`]: {
      get: list('getSession', 'Show the session, never a value', organisation, { 200: json('Its state') }),
      put: admin(
        'setSession',
        'Set the session',
        organisation,
        { 200: json('Its state') },
        { body: 'NewSession' },
      ),
      delete: admin('deleteSession', 'Forget the session', organisation, { 200: json('Its state') }),
    },
    ...hooks(),
    [`${organisation}/audit`]: {
      get: audit(
        'listRecords',
        'Read the audit log',
        organisation,
        {
          200: {
            description:
              'A page, newest first, which may be short or empty: next, unless null, is the before of the one after it. Or everything, oldest first, one record a line',
            content: {
              'application/json': { schema: {} },
              'application/x-ndjson': { schema: { type: 'string' } },
            },
          },
        },
        { parameters: query(auditQuery()) },
      ),
    },
    [`${organisation}/audit/checkpoint`]: {
      get: audit('getCheckpoint', 'Size and root of the log, signed', organisation, {
        200: text('A signed note (c2sp.org/tlog-checkpoint)'),
      }),
    },
    [`${organisation}/audit/leaves`]: {
      get: audit('listLeaves', 'The hash of every record', organisation, {
        200: text('A line for each, as in Audit-Receipt'),
      }),
    },
    [`${organisation}/audit/archive`]: {
      get: audit('getArchive', 'How the log stands to its archive', organisation, {
        200: json('state, log, and what the archive holds where that is another log'),
      }),
    },
    [`${organisation}/audit/archive/acknowledge`]: {
      post: admin(
        'acknowledgeFork',
        'Go on with a log that its archive contradicts',
        organisation,
        { 200: json('How it stands now') },
        { body: 'Acknowledgement' },
      ),
    },
    [`${organisation}/audit/consistency`]: {
      get: audit(
        'getConsistency',
        'That the log begins with what it was',
        organisation,
        { 200: json('from, to and proof (RFC 6962, section 2.1.2)') },
        { parameters: query(consistencyQuery()) },
      ),
    },
    [`${organisation}/audit/{seq}`]: {
      get: audit('getRecord', 'One record', `${organisation}/{seq}`, { 200: json('The record') }),
    },
    [`${organisation}/audit/{seq}/proof`]: {
      get: audit(
        'getInclusion',
        'That the log holds a record',
        `${organisation}/{seq}`,
        { 200: json('seq, size, leaf and proof (RFC 6962, section 2.1.1)') },
        { parameters: query(proofQuery()) },
      ),
    },
    '/audit/key': {
      get: meta('getAuditKey', 'The key that verifies checkpoints', '', {
        200: text('name+id+key (c2sp.org/signed-note)'),
      }),
    },
    '/health': { get: meta('getHealth', 'Whether the configuration is whole', '', { 200: json('It is') }) },
    '/openapi.json': { get: meta('getDescription', 'This document', '', { 200: json('OpenAPI 3.1') }) },
    '/problems/{code}': {
      get: meta('getProblem', 'What a code means and what to do', '/{code}', {
        200: text('An explanation'),
      }),
    },
  }
}

/** What an admin does with hooks. */
function hooks(): Json {
  const all = '/admin/organisations/{organisation_id}/hooks'
  const hook = `${all}/{hook_id}`
  const delivery = '/admin/organisations/{organisation_id}/deliveries/{delivery_id}'
  const admin = operation('admin', [{ admin: [] }])
  const list = operation('admin', readers)
  const once = { 201: json('The hook with its secret, shown this once') }
  return {
    [all]: {
      get: list('listHooks', 'List hooks', all, { 200: json('The hooks') }),
      post: admin('createHook', 'Make a hook', all, once, { body: 'NewHook' }),
    },
    [hook]: {
      get: list('getHook', 'Show a hook', hook, { 200: json('The hook') }),
      patch: admin('changeHook', 'Change a hook', hook, { 200: json('The hook') }, { body: 'HookChange' }),
      delete: admin('deleteHook', 'Delete a hook and cancel its deliveries', hook, {
        200: json('How many were cancelled'),
      }),
    },
    [`${hook}/rotate-secret`]: {
      post: admin('rotateHookSecret', 'Give a hook a new secret', hook, once, { body: 'SecretRotation' }),
    },
    [`${hook}/test`]: {
      post: admin(
        'testHook',
        'Try an event: nothing is stored or sent',
        hook,
        { 200: json('What it would become') },
        { body: 'Sample' },
      ),
    },
    [`${hook}/deliveries`]: {
      get: list(
        'listDeliveries',
        'What a hook was sent',
        hook,
        { 200: json('A page, newest first') },
        { parameters: query(deliveryQuery()) },
      ),
    },
    [delivery]: {
      get: list('getDelivery', 'One delivery', delivery, { 200: json('The delivery and its event') }),
    },
    [`${delivery}/replay`]: {
      post: admin('replayDelivery', 'Try a dead delivery anew', delivery, { 202: json('The delivery') }),
    },
  }
}

if (import.meta.main) {
  writeFileSync(join(import.meta.dirname, 'openapi.json'), `${JSON.stringify(openapi(), null, 2)}\n`)
}
