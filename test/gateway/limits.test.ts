/** What strangers cost: the limit of a client's address, forged tokens, and that nobody else notices. Rates of tokens too. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import { eventsOf, gatewayForTests, passHour, put, versionOf, versionPath } from './gateway.ts'

const limit = 20
const gateway = await gatewayForTests({ ADDRESS_LIMIT: String(limit) })
let address = 0

const newAddress = () => `192.0.2.${++address}`
const forged = () => mintToken(bytes => randomBytes(bytes)).token

function read(id: string, token: string, ip: string) {
  return gateway.ask(versionPath(id, 'CONN1', '1.4.0'), { token, headers: { 'CF-Connecting-IP': ip } })
}

/** Presents forged tokens until the address has to wait. */
async function exhaust(id: string, ip: string): Promise<void> {
  for (let i = 0; i < limit + 20; i++) await read(id, forged(), ip)
}

describe('an address whose credentials are refused', () => {
  test('has to wait in the end, with the problem that says so', async () => {
    const { id } = await gateway.organisation()
    const ip = newAddress()
    expect((await read(id, forged(), ip)).status).toBe(401)
    await exhaust(id, ip)
    const told = await read(id, forged(), ip)
    expect([told.status, told.json.code]).toEqual([429, 'rate-limited'])
    expect(told.json.detail).toContain('address')
    expect(Number(told.headers['retry-after'])).toBeGreaterThan(0)
    expect(told.headers['audit-receipt']).toBeUndefined()
    const update = await put(
      gateway,
      { id, token: forged() },
      { headers: { 'CF-Connecting-IP': ip, 'Content-Type': 'application/json' } },
    )
    expect(update.json).toMatchObject({ code: 'rate-limited', outcome: 'not-sent' })
  })

  test('keeps out nobody whose token exists, though this isolate has never seen it', async () => {
    const [made, other] = [await gateway.organisation(), await gateway.organisation()]
    const unseen = await gateway.organisation()
    await gateway.restart()
    const ip = newAddress()
    await exhaust(made.id, ip)
    expect((await read(made.id, forged(), ip)).status).toBe(429)
    let flooded = true
    const flood = Array.from({ length: 5 }, async () => {
      while (flooded) await read(other.id, forged(), ip)
    })
    for (const each of [made, other, unseen]) expect((await read(each.id, each.token, ip)).status).toBe(200)
    flooded = false
    await Promise.all(flood)
  })

  test('keeps nobody else out, and nobody who was let in before', async () => {
    const known = await gateway.organisation()
    const ip = newAddress()
    await exhaust(known.id, ip)
    expect((await read(known.id, forged(), newAddress())).status).toBe(401)
    for (let i = 0; i < 30; i++) expect((await read(known.id, known.token, ip)).status).toBe(200)
    const rotated = await gateway.admin('POST', `/organisations/${known.id}/tokens/${known.tokenId}/rotate`)
    expect((await read(known.id, rotated.json.token, ip)).status).toBe(200)
    // Its old secret is refused like any other.
    expect([401, 429]).toContain((await read(known.id, known.token, ip)).status)
  })

  test('guesses at a token’s id do not lock its holder out', async () => {
    const { id, token, tokenId } = await gateway.organisation()
    const ip = newAddress()
    const guess = () => mintToken(bytes => randomBytes(bytes), tokenId).token
    for (let i = 0; i < limit + 20; i++) expect([401, 429]).toContain((await read(id, guess(), ip)).status)
    expect((await read(id, token, ip)).status).toBe(200)
    expect((await read(id, token, newAddress())).status).toBe(200)
  })

  test('mistyped tokens and wrong admin secrets count as well', async () => {
    const { id } = await gateway.organisation()
    const [typing, guessing] = [newAddress(), newAddress()]
    for (let i = 0; i < limit + 1; i++) expect((await read(id, 'vgw_typo', typing)).status).toBe(401)
    for (let i = 0; i < 10; i++) await read(id, forged(), typing)
    expect((await read(id, forged(), typing)).status).toBe(429)

    const denied = async () => (await eventsOf(gateway, id)).filter(event => event === 'admin.denied').length
    const admin = (secret: string) =>
      gateway.ask(`/admin/organisations/${id}/tokens`, {
        token: secret,
        headers: { 'CF-Connecting-IP': guessing },
      })
    for (let i = 0; i < 5; i++) expect((await admin(`${'wrong'.repeat(8)}${i}`)).status).toBe(401)
    const before = await denied()
    expect(before).toBeGreaterThan(0)
    for (let i = 0; i < limit + 5; i++) expect((await admin(`${'wrong'.repeat(8)}${i}`)).status).toBe(401)
    const after = await denied()
    for (let i = 0; i < 10; i++) expect((await admin(`${'wrong'.repeat(8)}${i}`)).status).toBe(401)
    expect(await denied()).toBe(after)
    expect((await admin(gateway.adminSecret)).status).toBe(200)
  })
})

test('a token that never existed is not asked about again, and leaves one record', async () => {
  const { id } = await gateway.organisation()
  const token = forged()
  for (let i = 0; i < 10; i++) expect((await read(id, token, newAddress())).status).toBe(401)
  expect(await eventsOf(gateway, id)).toEqual(['read.denied'])
})

test('a flood of forged tokens adds a few records, and who holds one is served', async () => {
  const { id, token } = await gateway.organisation()
  const before = gateway.platform.received.length
  for (let round = 0; round < 10; round++) {
    const flood = Array.from({ length: 100 }, () => read(id, forged(), newAddress()))
    const served = await Promise.all([1, 2, 3].map(() => read(id, token, '198.51.100.1')))
    expect(served.map(({ status }) => status)).toEqual([200, 200, 200])
    for (const { status } of await Promise.all(flood)) expect([401, 429]).toContain(status)
  }
  const events = await eventsOf(gateway, id)
  expect(events.filter(event => event === 'read.denied').length).toBeLessThanOrEqual(40)
  expect(gateway.platform.received.length).toBe(before + 30)
})

describe("a token's rate", () => {
  test('is counted on by an object that forgot it', async () => {
    const made = await gateway.organisation({ rateLimit: { requests: 6, windowSeconds: 86_400 } })
    const ip = newAddress()
    const remaining = async (answer: Promise<{ headers: Record<string, unknown> }>) =>
      Number(/r=(\d+)/.exec(String((await answer).headers.ratelimit))?.[1])
    const plain = { headers: { 'Content-Type': 'application/json', 'CF-Connecting-IP': ip } }
    expect(await remaining(read(made.id, made.token, ip))).toBe(5)
    expect(await remaining(put(gateway, made, plain))).toBe(4)
    expect(await remaining(put(gateway, made, { ...plain, body: '{}' }))).toBe(3)
    await gateway.restart()
    expect(await remaining(gateway.ask(`/o/${made.id}/token`, { token: made.token }))).toBe(2)
    await gateway.restart()
    expect(await remaining(read(made.id, made.token, ip))).toBe(1)
    expect((await read(made.id, made.token, ip)).status).toBe(200)
    const over = await read(made.id, made.token, ip)
    expect(over.status).toBe(429)
    await gateway.restart()
    const still = await read(made.id, made.token, ip)
    expect(still.status).toBe(429)
    expect(Number(still.headers['retry-after'])).toBeGreaterThan(86_000)
  })

  test('a patch that changes nothing is used up too, and counted on', async () => {
    const made = await gateway.organisation({ rateLimit: { requests: 2, windowSeconds: 86_400 } })
    const unchanged = () =>
      gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), {
        method: 'PATCH',
        token: made.token,
        headers: { 'Content-Type': 'application/merge-patch+json', 'CF-Connecting-IP': newAddress() },
        body: '{}',
      })
    expect((await unchanged()).status).toBe(200)
    expect((await unchanged()).status).toBe(200)
    await gateway.restart()
    expect((await unchanged()).status).toBe(429)
  })

  test('what its scope forbids is used up too, and counted on', async () => {
    const made = await gateway.organisation({
      connections: ['OTHER'],
      rateLimit: { requests: 2, windowSeconds: 86_400 },
    })
    expect((await read(made.id, made.token, newAddress())).status).toBe(403)
    await gateway.restart()
    expect((await read(made.id, made.token, newAddress())).status).toBe(403)
    expect((await read(made.id, made.token, newAddress())).status).toBe(429)
    await gateway.restart()
    expect((await read(made.id, made.token, newAddress())).status).toBe(429)
  })
})

describe('storage that has an end', () => {
  const full = { ORGANISATION_STORAGE_MB: '1', UPSTREAM_TIMEOUT_MS: '60000' }

  test('refuses updates, then reads, and still takes outcomes and revocations', async () => {
    await gateway.restart(full)
    const made = await gateway.organisation()
    const changes = { description: 'x'.repeat(8_000) }
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': 'early' }
    const keyed = { headers, body: versionOf(gateway, made.id, { description: 'early' }) }
    expect((await put(gateway, made, keyed)).status).toBe(200)
    let answer = await put(gateway, made, { changes })
    const held = gateway.platform.hold({ method: 'PUT', connectionId: 'HELD' })
    const late = put(gateway, made, { connection: 'HELD' })
    await held.arrived
    while (answer.status === 200) answer = await put(gateway, made, { changes })
    expect([answer.status, answer.json.code, answer.json.outcome]).toEqual([
      503,
      'audit-unavailable',
      'not-sent',
    ])
    expect(answer.json.detail).toContain('full')
    expect(answer.headers['audit-receipt']).toBeDefined()
    held.release()
    expect((await late).status).toBe(200)
    let reading = await read(made.id, made.token, newAddress())
    expect(reading.status).toBe(200)
    while (reading.status === 200) reading = await read(made.id, made.token, newAddress())
    expect([reading.status, reading.json.code]).toEqual([503, 'audit-unavailable'])
    const self = await gateway.ask(`/o/${made.id}/token`, { token: made.token })
    expect([self.status, self.json.code]).toEqual([503, 'audit-unavailable'])
    const before = (await eventsOf(gateway, made.id)).length
    for (let i = 0; i < 60; i++) {
      const again = await put(gateway, made, keyed)
      expect([again.status, again.headers['idempotency-replayed']]).toEqual([200, 'true'])
    }
    // As many as of refusals: 20 a minute, and a minute may end meanwhile.
    expect((await eventsOf(gateway, made.id)).length - before).toBeLessThanOrEqual(41)
    const revoked = await gateway.admin('DELETE', `/organisations/${made.id}/tokens/${made.tokenId}`)
    expect([revoked.status, revoked.json.status]).toEqual([200, 'revoked'])
    for (let hours = 0; hours < 3; hours++) await passHour(gateway)
    const { organisations } = (await gateway.admin('GET', '/organisations')).json
    const listed = organisations.find((each: { id: string }) => each.id === made.id)
    expect(listed.storage.bytes).toBeGreaterThan(900_000)
    expect((await eventsOf(gateway, made.id)).filter(event => event === 'storage.high')).toEqual([
      'storage.high',
    ])
  })
})
