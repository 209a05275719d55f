/**
 * Callers that break off while an object is asked for them: workerd drops what their request waits for, and nobody else may wait
 * for it. The Worker is the real one but for two calls, which take long enough to be broken off in.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import { buildInstead } from './build.ts'
import { type Gateway, startGateway, versionPath } from './gateway.ts'

const slowMs = 800
const address = '192.0.2.1'
let gateway: Gateway

beforeAll(async () => {
  const source = join(import.meta.dirname, '../../src/organisation')
  const slow = (name: string, file: string, call: string) => ({
    modules: [`./${file}`, `./organisation/${file}`],
    stub: `import { ${name} as Real } from '${join(source, file)}'
      export class ${name} extends Real {
        async ${call}() { await scheduler.wait(${slowMs}); return super.${call}() }
      }\n`,
  })
  const folder = mkdtempSync(join(tmpdir(), 'gateway-build-'))
  const bundle = buildInstead(folder, [
    slow('Directory', 'directory.ts', 'hookKey'),
    slow('TokenDesk', 'token-desk.ts', 'ids'),
  ])
  rmSync(folder, { recursive: true })
  gateway = await startGateway({ ADDRESS_LIMIT: '3' }, bundle)
}, 60_000)
afterAll(() => gateway.stop())

/** Sends the head of a request, and resets the connection while it is answered. */
async function breakOff(method: string, path: string, ...headers: string[]): Promise<void> {
  const { hostname, port, host } = new URL(gateway.runtime.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  const head = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, 'Content-Length: 0', ...headers]
  socket.write(`${head.join('\r\n')}\r\n\r\n`)
  await sleep(slowMs / 2)
  socket.resetAndDestroy()
  await sleep(100)
}

const forged = () => mintToken(length => randomBytes(length)).token
const from = { headers: { 'CF-Connecting-IP': address } }

test('the key of hook ids: events are taken in afterwards', async () => {
  const path = '/webhooks/ORG/madeup'
  await breakOff('POST', path)
  expect((await gateway.ask(path, { method: 'POST', body: {} })).status).toBe(404)
})

test('which token ids exist: a token is let in from an address that is blocked', async () => {
  const { id, token } = await gateway.organisation()
  await gateway.restart()
  const path = versionPath(id, 'CONN1', '1.4.0')
  for (let i = 0; i < 6; i++) await gateway.ask(path, { token: forged(), ...from })
  // Whoever asked last was answered less than a second ago.
  await sleep(1_100)
  await breakOff('GET', path, `CF-Connecting-IP: ${address}`, `Authorization: Bearer ${forged()}`)
  await sleep(1_100)
  expect((await gateway.ask(path, { token, ...from })).status).toBe(200)
})
