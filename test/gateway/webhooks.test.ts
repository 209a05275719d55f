/**
 * The webhook target from the real Worker: who is believed, what an event becomes, that it is delivered once and in order, and
 * what an admin sees of it.
 */
import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { eventsOf, gatewayForTests } from './gateway.ts'

const gateway = await gatewayForTests({ UPSTREAM_RETRY_MS: '10' })

const release = {
  name: 'github-release',
  verification: { type: 'github' },
  connectionId: 'CONN1',
  version: '${{ event.release.tag_name }}',
  versions: ['1.*'],
  when: 'event.action == "published"',
  change: { isDefault: true },
}

function signed(secret: string, body: string): Record<string, string> {
  const signature = createHmac('sha256', secret).update(body).digest('hex')
  return { 'Content-Type': 'application/json', 'X-Hub-Signature-256': `sha256=${signature}` }
}

async function makeHook(organisation: string, definition: object) {
  const made = await gateway.admin('POST', `/organisations/${organisation}/hooks`, definition)
  expect(made.status, made.text).toBe(201)
  return { ...made.json, path: new URL(made.json.url).pathname } as {
    id: string
    secret: string
    path: string
  }
}

test('a release makes its version the default', async () => {
  const { id } = await gateway.organisation()
  const hook = await makeHook(id, release)
  const body = JSON.stringify({ action: 'published', release: { tag_name: '1.4.0' } })
  const sent = await gateway.ask(hook.path, { method: 'POST', headers: signed(hook.secret, body), body })
  expect(sent.status, sent.text).toBe(202)
  expect(sent.json).toEqual({ deliveryId: expect.any(String), state: 'pending' })
  await expect.poll(() => gateway.platform.get(id, 'CONN1', '1.4.0')?.isDefault).toBe(true)
  await expect
    .poll(
      async () =>
        (await gateway.admin('GET', `/organisations/${id}/deliveries/${sent.json.deliveryId}`)).json,
    )
    .toMatchObject({ state: 'done', tries: 1 })
  expect(await eventsOf(gateway, id)).toEqual([
    'hook.created',
    'webhook.received',
    'update.attempted',
    'update.succeeded',
  ])
  const again = await gateway.ask(hook.path, { method: 'POST', headers: signed(hook.secret, body), body })
  expect([again.status, again.json.state]).toEqual([200, 'done'])
})
