/**
 * Owns what the console is shown with: an organisation in which everything has happened once, others without a session, with
 * a refused one, and with nothing. Every text that a caller or an admin can choose is hostile in one of them.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { type Answer, type Gateway, newId, put, versionPath } from '../gateway/gateway.ts'

/** Markup that would show if it were taken as such; a version's name may hold no slash. */
export const hostile = `"'><img src=x onerror=alert(1)>`
export const hostileElement = `</title></pre></textarea><script>alert(1)</script>${hostile}`

/** A key stands in quotes, so it holds none. */
export const keyOf = (text: string) => text.replaceAll('"', '')

export interface Scene {
  /** Where everything has happened. */
  busy: string
  /** Where every text is hostile. */
  attacked: string
  missing: string
  rejected: string
  unused: string
  /** Where nothing is written, as the archive knows another log. */
  stopped: string
  /** Hooks of `busy` and `attacked`. */
  hook: string
  attackedHook: string
  /** By what happened in `busy` and `attacked`: the record that says so. */
  seq: Record<
    'changed' | 'failed' | 'unknown' | 'denied' | 'attacked' | 'patched' | 'attackedRejected',
    number
  >
}

/** An organisation whose archive is given the checkpoint of another log while it runs. */
async function stop(gateway: Gateway): Promise<string> {
  const made = await gateway.organisation()
  const bucket: unknown = await gateway.runtime.miniflare.getR2Bucket('AUDIT_ARCHIVE')
  const text = `gateway.example/o/${made.id}\n900\n${Buffer.alloc(32, 7).toString('base64')}\n\n— gateway.example AAAA\n`
  await (bucket as { put(key: string, text: string): Promise<unknown> }).put(`newest/${made.id}`, text)
  await gateway.admin('DELETE', `/organisations/${made.id}/session`)
  while ((await put(gateway, made)).json.code !== 'audit-unavailable') {
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  gateway.unverified.delete(made.id)
  return made.id
}

export async function makeScene(gateway: Gateway): Promise<Scene> {
  const busy = await gateway.organisation({ name: 'ci-deploy' })
  const { platform } = gateway
  const seqOf = (answer: Answer) => Number(String(answer.headers['audit-receipt']).split(':')[0])
  const cookie = platform.cookie.replace(/^cookie=/, '')
  await gateway.admin('PUT', `/organisations/${busy.id}/session`, {
    cookie,
    owner: 'release-bot@example.com',
    expiresAt: new Date(Date.now() + 40 * 86_400_000).toISOString(),
    probe: { connectionId: 'CONN1', version: '1.4.0' },
  })
  for (let i = 0; i < 6; i++) await gateway.ask(versionPath(busy.id, 'CONN1', '1.4.0'), { token: busy.token })
  await put(gateway, busy, { changes: { description: 'Retries the nightly sync' } })
  const patched = await gateway.ask(versionPath(busy.id, 'CONN1', '1.3.0'), {
    method: 'PATCH',
    token: busy.token,
    headers: { 'Content-Type': 'application/merge-patch+json' },
    body: { description: 'the one before the fix' },
  })
  platform.misbehave(
    { kind: 'status', status: 422, body: JSON.stringify({ code: 'invalid', message: 'no' }) },
    { method: 'PUT' },
  )
  const failed = await put(gateway, busy, { changes: { description: 'refused by the platform' } })
  platform.misbehave({ kind: 'drop-after' }, { method: 'PUT', connectionId: 'CONN2' })
  for (let i = 0; i < 3; i++) {
    platform.misbehave({ kind: 'status', status: 500 }, { method: 'GET', connectionId: 'CONN2' })
  }
  const unknown = await put(gateway, busy, { connection: 'CONN2', changes: { description: 'lost' } })
  platform.behave()
  const narrow = await gateway.admin('POST', `/organisations/${busy.id}/tokens`, {
    name: 'reporting, reads one connection',
    connections: ['CONN9'],
    actions: ['read'],
    expiresAt: new Date(Date.now() + 3 * 86_400_000).toISOString(),
  })
  const denied = await put(gateway, { id: busy.id, token: narrow.json.token })
  const revoked = await gateway.admin('POST', `/organisations/${busy.id}/tokens`, {
    name: 'left the team',
    connections: ['*'],
    expiresAt: null,
  })
  await gateway.admin('DELETE', `/organisations/${busy.id}/tokens/${revoked.json.id}`)
  await gateway.ask(versionPath(busy.id, 'CONN1', '1.4.0'), { token: revoked.json.token })
  await put(gateway, busy, { body: '{}' })
  await gateway.admin('GET', `/organisations/${busy.id}/audit?outcome=failed`, undefined, {
    Accept: 'application/x-ndjson',
  })
  await reconciled(gateway, busy.id)
  const hook = await makeHook(gateway, busy.id, 'github-release')
  const sendTo = async (tag: string, action = 'published') => {
    const body = JSON.stringify({ action, release: { tag_name: tag } })
    const signature = createHmac('sha256', hook.secret).update(body).digest('hex')
    const headers = { 'Content-Type': 'application/json', 'X-Hub-Signature-256': `sha256=${signature}` }
    return gateway.ask(hook.path, { method: 'POST', headers, body })
  }
  await sendTo('1.4.0')
  await sendTo('1.3.0', 'drafted')
  await sendTo('9.9.9')

  const attacked = await gateway.organisation({ name: hostileElement.slice(0, 100) })
  await gateway.admin('PUT', `/organisations/${attacked.id}/session`, {
    cookie,
    owner: hostileElement.slice(0, 100),
    probe: { connectionId: 'CONN1', version: hostile },
  })
  const attackedHook = await makeHook(gateway, attacked.id, hostileElement.slice(0, 100))
  const headers = {
    'Content-Type': 'application/json',
    'User-Agent': hostileElement,
    'Idempotency-Key': `"${keyOf(hostileElement)}"`,
    'X-Request-Id': hostile,
  }
  const version = platform.get(attacked.id, 'CONN1', '1.4.0')
  platform.seed(attacked.id, 'CONN1', [
    { ...version, name: hostile, description: hostileElement, isLatest: true, isDefault: true } as never,
  ])
  const held = platform.get(attacked.id, 'CONN1', hostile)
  const attack = await gateway.ask(versionPath(attacked.id, 'CONN1', hostile), {
    method: 'PUT',
    token: attacked.token,
    headers: { ...headers, 'If-Match': '*' },
    body: { ...held, description: `${hostileElement} again` },
  })
  const attackedRejected = await gateway.ask(versionPath(attacked.id, 'CONN1', hostile), {
    method: 'PUT',
    token: attacked.token,
    headers: { ...headers, 'Idempotency-Key': 'k2' },
    body: { ...held, [hostileElement]: 1 },
  })

  const missing = newId()
  await gateway.admin('POST', `/organisations/${missing}/tokens`, { name: 'early bird', connections: ['*'] })
  const rejected = await gateway.organisation()
  platform.misbehave({ kind: 'html' }, { method: 'GET' })
  await gateway.ask(versionPath(rejected.id, 'CONN1', '1.4.0'), { token: rejected.token })
  platform.behave()
  const stopped = await stop(gateway)
  return {
    stopped,
    busy: busy.id,
    attacked: attacked.id,
    missing,
    rejected: rejected.id,
    hook: hook.id,
    attackedHook: attackedHook.id,
    unused: `UNUSED${randomBytes(6).toString('hex').toUpperCase()}`,
    seq: {
      changed: seqOf(patched),
      patched: seqOf(patched),
      failed: seqOf(failed),
      unknown: seqOf(unknown),
      denied: seqOf(denied),
      attacked: seqOf(attack),
      attackedRejected: seqOf(attackedRejected),
    },
  }
}

async function makeHook(gateway: Gateway, organisation: string, name: string) {
  const made = await gateway.admin('POST', `/organisations/${organisation}/hooks`, {
    name,
    verification: { type: 'github' },
    connectionId: 'CONN1',
    version: '${{ event.release.tag_name }}',
    versions: ['*'],
    when: 'event.action == "published"',
    change: { isDefault: true },
  })
  if (made.status !== 201) throw new Error(`no hook: ${made.status} ${made.text}`)
  return { id: made.json.id, secret: made.json.secret, path: new URL(made.json.url).pathname }
}

/** Waits until the alarm has looked into what is unknown. */
async function reconciled(gateway: Gateway, id: string): Promise<void> {
  for (;;) {
    const found = await gateway.admin('GET', `/organisations/${id}/audit?event=update.reconciled`)
    if (found.json.records.length > 0) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
