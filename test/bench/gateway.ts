/** Owns the gateway of the bench: the built Worker in workerd, with organisations that have a session and a token. */

import { builtWorker } from '../gateway/build.ts'
import { makeSecrets, type Secrets } from '../platform/secrets.ts'
import { startWorkerd, type Workerd } from './workerd.ts'
import { entry } from './workers.ts'

export const worker = 'versori-gateway'

export interface Gateway extends Workerd {
  secrets: Secrets
  /** Of an organisation that was set up; its rate is out of the way. */
  token(organisation: string): string
  setUp(organisation: string): Promise<void>
  admin(method: string, path: string, body?: object): Promise<Response>
}

export interface Options {
  upstream: string
  storage: string
  /** Those of an earlier run on the same storage. */
  secrets?: Secrets
  tokens?: Map<string, string>
  /** What stands around the built Worker, where it is another text than the usual one. */
  entry?: string
  inspected?: boolean
  /** Another build than the one that is deployed. */
  source?: string
}

export async function startGateway(options: Options): Promise<Gateway> {
  const {
    upstream,
    storage,
    secrets = makeSecrets(),
    tokens = new Map<string, string>(),
    inspected = false,
  } = options
  const source = options.source ?? builtWorker()
  const workerd = await startWorkerd({
    name: worker,
    modules: { 'index.js': options.entry ?? entry, 'built.js': source },
    objects: { ORGANISATION: 'Organisation', DIRECTORY: 'Directory' },
    variables: { UPSTREAM_BASE_URL: upstream, ...secrets },
    storage,
    inspected,
  })
  const gateway: Gateway = {
    ...workerd,
    secrets,
    token(organisation) {
      const token = tokens.get(organisation)
      if (token === undefined) throw new Error(`${organisation} was not set up`)
      return token
    },
    async setUp(organisation) {
      const path = `/organisations/${organisation}`
      await gateway.admin('PUT', `${path}/session`, { cookie: 'sesame'.repeat(20) })
      const rateLimit = { requests: 100_000, windowSeconds: 1 }
      const made = await gateway.admin('POST', `${path}/tokens`, {
        name: 'bench',
        connections: ['*'],
        rateLimit,
      })
      tokens.set(organisation, ((await made.json()) as { token: string }).token)
    },
    async admin(method, path, body) {
      const response = await fetch(`${workerd.url}/admin${path}`, {
        method,
        headers: {
          Authorization: `Bearer ${secrets.ADMIN_TOKEN.split(':')[1]}`,
          ...(body ? { 'Content-Type': 'application/json' } : {}),
        },
        body: body ? JSON.stringify(body) : null,
      })
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
      return response
    },
  }
  return gateway
}
