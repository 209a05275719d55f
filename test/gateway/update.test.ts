import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Gateway, startGateway, versionPath } from './gateway.ts'

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => gateway.stop())

test('a caller reads and updates a version, and the log joins both records of the update', async () => {
  const { id, token } = await gateway.organisation()
  const path = versionPath(id, 'CONN1', '1.4.0')
  const read = await gateway.ask(path, { token })
  expect(read.status).toBe(200)
  const put = await gateway.ask(path, {
    method: 'PUT',
    token,
    headers: { 'Content-Type': 'application/json' },
    body: { ...read.json, description: 'now with tea' },
  })
  expect(put.status, put.text).toBe(200)
  const log = await gateway.admin('GET', `/organisations/${id}/audit`)
  const sent = gateway.platform.received.at(-1)
  expect(log.json.records[0].request.sha256).toBe(
    createHash('sha256')
      .update(sent?.body ?? '')
      .digest('hex'),
  )
})
