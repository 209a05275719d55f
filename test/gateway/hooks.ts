/**
 * Owns what tests of the webhook target share: hooks, events signed by their senders' own libraries, and the wait for what
 * becomes of a delivery.
 */
import { createHmac, generateKeyPairSync, randomBytes, randomUUID, sign as signWith } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { sign as signForGitHub } from '@octokit/webhooks-methods'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { Stripe } from 'stripe'
import { Webhook as SvixWebhook } from 'svix'
import { expect } from 'vitest'
import type { Answer, Ask, Gateway } from './gateway.ts'

type Asked = Pick<Gateway, 'ask'>
type Administered = Pick<Gateway, 'admin'>

export type Headers = Record<string, string>
export const json: Headers = { 'Content-Type': 'application/json' }

export interface Hook {
  id: string
  secret: string
  /** Where its events go. */
  path: string
  organisation: string
}

/** A hook that writes an event's `text` into the description of one version, with changes. */
export function definitionOf(changes: object = {}) {
  return {
    name: 'releases',
    verification: { type: 'github' },
    connectionId: 'CONN1',
    version: '1.4.0',
    change: { description: '${{ event.text }}' },
    ...changes,
  }
}

export async function makeHook(
  gateway: Administered,
  organisation: string,
  changes: object = {},
): Promise<Hook> {
  const made = await gateway.admin('POST', `/organisations/${organisation}/hooks`, definitionOf(changes))
  expect(made.status, made.text).toBe(201)
  const { id, url, secret } = made.json
  return { id, secret, path: new URL(url).pathname, organisation }
}

/** An event as its hook's sender sends it. */
export function post(gateway: Asked, { path }: Hook, headers: Ask['headers'], body: string | Buffer) {
  return gateway.ask(path, { method: 'POST', headers: headers ?? {}, body })
}

/** An event signed as GitHub signs. */
export async function postSigned(gateway: Asked, hook: Hook, event: object, more: Headers = {}) {
  const body = JSON.stringify(event)
  return post(gateway, hook, { ...json, ...gitHubHeaders(hook.secret, body), ...more }, body)
}

/** The signature alone, over bytes that may be no text, which GitHub's library does not take. */
export function gitHubHeaders(secret: string, body: string | Buffer): Headers {
  return { 'X-Hub-Signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` }
}

export function standardHeaders(
  secret: string,
  body: string,
  { id = `msg_${randomUUID()}`, at = Date.now() }: { id?: string; at?: number } = {},
): Headers {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at / 1000)),
    'webhook-signature': new StandardWebhook(secret).sign(id, new Date(at), body),
  }
}

const ed25519 = generateKeyPairSync('ed25519')
const publicKey = ed25519.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64')

/** Who sends: the verification that its hook has, how it signs a body, and in which header the signature stands. */
export interface Sender {
  verification: object
  header: string
  sign(secret: string, body: string, at?: number): Headers | Promise<Headers>
}

export const senders: Record<string, Sender> = {
  'Standard Webhooks': {
    verification: { type: 'standard-webhooks' },
    header: 'webhook-signature',
    sign: (secret, body, at) => standardHeaders(secret, body, at === undefined ? {} : { at }),
  },
  Svix: {
    verification: { type: 'standard-webhooks' },
    header: 'svix-signature',
    sign(secret, body, at = Date.now()) {
      const id = `msg_${randomUUID()}`
      return {
        'svix-id': id,
        'svix-timestamp': String(Math.floor(at / 1000)),
        'svix-signature': new SvixWebhook(secret).sign(id, new Date(at), body),
      }
    },
  },
  'Standard Webhooks with Ed25519': {
    verification: { type: 'standard-webhooks', secret: `whpk_${publicKey}` },
    header: 'webhook-signature',
    sign(_, body, at = Date.now()) {
      const [id, timestamp] = [`msg_${randomUUID()}`, String(Math.floor(at / 1000))]
      const signature = signWith(null, Buffer.from(`${id}.${timestamp}.${body}`), ed25519.privateKey)
      return {
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1a,${signature.toString('base64')}`,
      }
    },
  },
  GitHub: {
    verification: { type: 'github' },
    header: 'X-Hub-Signature-256',
    sign: async (secret, body) => ({ 'X-Hub-Signature-256': await signForGitHub(secret, body) }),
  },
  Stripe: {
    verification: { type: 'stripe', secret: `whsec_${randomBytes(24).toString('base64url')}` },
    header: 'Stripe-Signature',
    sign(secret, payload, at = Date.now()) {
      const timestamp = Math.floor(at / 1000)
      return {
        'Stripe-Signature': Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }),
      }
    },
  },
  'an HMAC in hex': {
    verification: { type: 'hmac', header: 'X-Signature', hash: 'SHA-512', prefix: 'sha512:' },
    header: 'X-Signature',
    sign: (secret, body) => ({
      'X-Signature': `sha512:${createHmac('sha512', secret).update(body).digest('hex')}`,
    }),
  },
  'an HMAC in base64': {
    verification: { type: 'hmac', header: 'X-Shop-Hmac', encoding: 'base64' },
    header: 'X-Shop-Hmac',
    sign: (secret, body) => ({ 'X-Shop-Hmac': createHmac('sha256', secret).update(body).digest('base64') }),
  },
}

/** A secret as it could lie in a row in the clear: as text, or as the base64 in which sealed ones are stored. */
export function inTheClear(...secrets: string[]): string[] {
  return secrets.flatMap(secret => [secret, Buffer.from(secret).toString('base64')])
}

/** A delivery as an admin sees it. */
export async function deliveryOf(gateway: Administered, organisation: string, id: string) {
  return (await gateway.admin('GET', `/organisations/${organisation}/deliveries/${id}`)).json
}

/** Waits until a delivery satisfies `shape`. */
export async function became(gateway: Administered, organisation: string, id: string, shape: object) {
  await expect
    .poll(() => deliveryOf(gateway, organisation, id), { timeout: 15_000, interval: 20 })
    .toMatchObject(shape)
  return deliveryOf(gateway, organisation, id)
}

/** Expects an event to be taken, and waits until it is applied. */
export async function applied(gateway: Administered, organisation: string, sent: Answer) {
  expect([sent.status, sent.json?.state], sent.text).toEqual([202, 'pending'])
  return became(gateway, organisation, sent.json.deliveryId, { state: 'done' })
}

/** The descriptions that the platform was made to hold in a connection, in their order. */
export function descriptionsAt(
  { platform }: Pick<Gateway, 'platform'>,
  organisation: string,
  connection = 'CONN1',
): string[] {
  return platform.history
    .filter(
      ({ organisationId, connectionId }) => organisationId === organisation && connectionId === connection,
    )
    .map(({ body }) => JSON.parse(body).description)
}

/** The storage of an organisation's object. */
export function storageOf({ runtime }: Gateway, organisation: string) {
  const name = { name: organisation }
  return runtime.miniflare.unsafeGetDurableObjectStorage('versori-gateway', 'Organisation', name)
}

/** Changes rows while the object is not looking: it is evicted, and reads them anew as it is woken. */
export async function rewrite(
  gateway: Gateway,
  organisation: string,
  ...statements: string[]
): Promise<void> {
  const name = { name: organisation }
  await gateway.runtime.miniflare.unsafeEvictDurableObject('versori-gateway', 'Organisation', name)
  const storage = await storageOf(gateway, organisation)
  for (const statement of statements) await storage.exec(statement)
  await gateway.runtime.miniflare.unsafeEvictDurableObject('versori-gateway', 'Organisation', name)
  await gateway.admin('GET', `/organisations/${organisation}/session`)
}

/** Lets the pause before the next tries of all that is pending be over. */
export function skipPause(gateway: Gateway, organisation: string, ...more: string[]): Promise<void> {
  return rewrite(
    gateway,
    organisation,
    `update deliveries set next_at = 0 where state = 'pending'`,
    `update due set at = 0 where kind = 'deliveries'`,
    ...more,
  )
}

const require = createRequire(import.meta.url)

/** GitHub's own examples of an event. */
export function gitHubExamples(event: string): { action: string; release: { tag_name: string } }[] {
  const path = require.resolve('@octokit/webhooks-examples/api.github.com/index.json')
  const all = JSON.parse(readFileSync(path, 'utf8')) as { name: string; examples: [] }[]
  return all.find(({ name }) => name === event)?.examples ?? []
}
