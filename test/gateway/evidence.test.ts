/**
 * The log as evidence, over HTTP: checkpoints, proofs, leaves and receipts of the real Worker, read by the specifications or by
 * the verifier, which both know nothing of the gateway.
 */
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/token.ts'
import { answer } from '../../src/verify/command.ts'
import { extend, includes } from '../../src/verify/merkle.ts'
import { openCheckpoint, parseKeys } from '../../src/verify/note.ts'
import { checkReceipt } from '../../src/verify/proofs.ts'
import { eventsOf, gatewayForTests, logOf, newId, put, versionPath } from './gateway.ts'

// No update of a crowd may run out of time: it would be looked into, and the log would grow meanwhile.
const gateway = await gatewayForTests({ UPSTREAM_TIMEOUT_MS: '60000' })

const audit = (id: string, path: string) => gateway.admin('GET', `/organisations/${id}/audit/${path}`)
const keys = async () => parseKeys((await gateway.ask('/audit/key')).text) ?? []
const bytes = (hashes: string[]) => hashes.map(each => Buffer.from(each, 'hex'))

async function checkpointOf(id: string) {
  const { status, headers, text } = await audit(id, 'checkpoint')
  expect([status, headers['content-type']]).toEqual([200, 'text/plain; charset=UTF-8'])
  const opened = openCheckpoint(Buffer.from(text), await keys())
  if ('problem' in opened) throw new Error(opened.problem)
  return { ...opened, text }
}

/** The root over exact strings, as RFC 6962, section 2.1, defines it. */
function rootOf(lines: string[]): Buffer {
  const sha = (...parts: (string | Buffer)[]) => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest()
  }
  if (lines.length < 2) return lines[0] === undefined ? sha() : sha('\x00', lines[0])
  let k = 1
  while (k * 2 < lines.length) k *= 2
  return sha('\x01', rootOf(lines.slice(0, k)), rootOf(lines.slice(k)))
}

const storageOf = (name: string) =>
  gateway.runtime.miniflare.unsafeGetDurableObjectStorage('versori-gateway', 'Organisation', { name })

describe('a checkpoint', () => {
  test('is a signed note over the size and root of the log, for the key that is given out', async () => {
    const made = await gateway.organisation()
    await put(gateway, made)
    const { text } = await audit(made.id, 'checkpoint')
    const lines = (await logOf(gateway, made.id)).map(({ line }) => line)
    const { host } = new URL(gateway.runtime.url)

    // c2sp.org/tlog-checkpoint and c2sp.org/signed-note, read apart from all code of the gateway.
    const [, body = '', name = '', encoded = ''] =
      /^((?:[^\n]+\n){3})\n\u2014 (\S+) (\S+)\n$/.exec(text) ?? []
    expect(body).toBe(`${host}/o/${made.id}\n${lines.length}\n${rootOf(lines).toString('base64')}\n`)
    const key = await gateway.ask('/audit/key')
    expect([key.status, key.headers['content-type']]).toEqual([200, 'text/plain; charset=UTF-8'])
    const [, keyName, id = '', material = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)\n$/.exec(key.text) ?? []
    expect([name, keyName]).toEqual([host, host])
    const raw = Buffer.from(material, 'base64')
    expect([raw.length, raw[0]]).toEqual([33, 1])
    expect(createHash('sha256').update(`${name}\n`).update(raw).digest('hex').slice(0, 8)).toBe(id)
    const signature = Buffer.from(encoded, 'base64')
    expect(signature.subarray(0, 4).toString('hex')).toBe(id)
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: raw.subarray(1).toString('base64url') }
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' })
    expect(verify(null, Buffer.from(body), publicKey, signature.subarray(4))).toBe(true)
  })

  test('of an organisation that does not exist is of an empty log, and brings none into being', async () => {
    const id = newId()
    const { size, root } = await checkpointOf(id)
    expect([size, root.toString('hex')]).toEqual([0, createHash('sha256').digest('hex')])
    expect((await audit(id, 'leaves')).text).toBe('')
    expect((await audit(id, 'consistency?from=0')).json).toEqual({ from: 0, to: 0, proof: [] })
    expect((await audit(id, '1/proof')).json.code).toBe('not-found')
    expect((await gateway.admin('GET', '/organisations')).text).not.toContain(id)
  })

  test('is of all that was answered before it, and leaves no record', async () => {
    const made = await gateway.organisation()
    const { headers } = await put(gateway, made)
    const seq = Number(String(headers['audit-receipt']).split(':')[0])
    expect((await checkpointOf(made.id)).size).toBe(seq)
    expect((await checkpointOf(made.id)).size).toBe(seq)
    expect((await logOf(gateway, made.id)).length).toBe(seq)
  })

  test('by another key follows a record that names both, and what the old key signed holds still', async () => {
    const made = await gateway.organisation()
    const oldKeys = await keys()
    const older = await checkpointOf(made.id)
    const { port } = new URL(gateway.runtime.url)
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const before = gateway.bindings.AUDIT_SIGNING_KEY
    await (await storageOf(made.id)).exec(
      `create trigger broken before insert on signing_key begin select raise(abort, 'broken'); end`,
    )
    await gateway.restart({
      AUDIT_SIGNING_KEY: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    })
    // The record and what is stored of the key stand or fall together, and nothing is signed without.
    expect((await audit(made.id, 'checkpoint')).json.code).toBe('audit-unavailable')
    const [row] = await (await storageOf(made.id)).exec('select max(seq) as seq from records')
    expect(row?.seq).toBe(older.size)
    await (await storageOf(made.id)).exec('drop trigger broken')
    // Two at once: it changed once.
    await Promise.all([checkpointOf(made.id), checkpointOf(made.id)])
    const newer = await checkpointOf(made.id)
    expect(newer.size).toBe(older.size + 1)
    const raw = (key: { export(options: { format: 'jwk' }): { x?: string } }) =>
      Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64')
    const [last] = (await logOf(gateway, made.id)).slice(-1)
    expect(last?.record).toMatchObject({
      event: 'key.changed',
      actor: { type: 'gateway' },
      target: { organisationId: made.id },
      key: { from: raw((oldKeys[0] as (typeof oldKeys)[0]).key), to: raw(publicKey) },
    })
    expect(await eventsOf(gateway, made.id)).toEqual(['key.changed'])
    const found = await gateway.admin('GET', `/organisations/${made.id}/audit?event=key.changed`)
    expect(found.json.records.length).toBe(1)

    const { proof } = (await audit(made.id, `consistency?from=${older.size}`)).json
    expect(openCheckpoint(Buffer.from(older.text), oldKeys)).toMatchObject({ size: older.size })
    expect(openCheckpoint(Buffer.from(older.text), await keys())).toHaveProperty('problem')
    expect(extend(older.size, newer.size, bytes(proof), older.root, newer.root)).toBe(true)
    expect(older.origin).toBe(`127.0.0.1:${port}/o/${made.id}`)
    await gateway.restart({ AUDIT_SIGNING_KEY: before })
  })
})

test('the host that is asked names the log and its key', async () => {
  const made = await gateway.organisation()
  const headers = { Host: 'Gateway.Example' }
  const path = `/admin/organisations/${made.id}/audit/checkpoint`
  const { text } = await gateway.ask(path, { token: gateway.adminSecret, headers })
  const trusted = parseKeys((await gateway.ask('/audit/key', { headers })).text) ?? []
  expect(trusted[0]?.name).toBe('gateway.example')
  expect(openCheckpoint(Buffer.from(text), trusted)).toMatchObject({ origin: `gateway.example/o/${made.id}` })
  expect(openCheckpoint(Buffer.from(text), await keys())).toHaveProperty('problem')
})

describe('proofs', () => {
  const two = gateway.organisation()
  test('every record is proven under every size, and every size begins with each before it', async () => {
    const made = await gateway.organisation()
    const checkpoints = [await checkpointOf(made.id)]
    for (let i = 0; i < 4; i++) {
      await put(gateway, made)
      checkpoints.push(await checkpointOf(made.id))
    }
    const log = await logOf(gateway, made.id)
    const lines = log.map(({ line }) => line)
    for (const { size, root } of checkpoints) {
      expect(root).toEqual(rootOf(lines.slice(0, size)))
      for (let seq = 1; seq <= size; seq++) {
        const { status, json } = await audit(made.id, `${seq}/proof?size=${size}`)
        expect([status, Object.keys(json)]).toEqual([200, ['seq', 'size', 'leaf', 'proof']])
        expect([json.seq, json.size]).toEqual([seq, size])
        expect(json.leaf).toBe(rootOf([lines[seq - 1] as string]).toString('hex'))
        expect(includes(Buffer.from(json.leaf, 'hex'), seq - 1, size, bytes(json.proof), root)).toBe(true)
      }
      for (const newer of checkpoints.filter(each => each.size >= size)) {
        const { json } = await audit(made.id, `consistency?from=${size}&to=${newer.size}`)
        expect([json.from, json.to]).toEqual([size, newer.size])
        expect(extend(size, newer.size, bytes(json.proof), root, newer.root)).toBe(true)
      }
    }
    const last = checkpoints.at(-1)
    expect((await audit(made.id, '2/proof')).json.size).toBe(last?.size)
    expect((await audit(made.id, 'consistency?from=1')).json.to).toBe(last?.size)
    const leaves = await audit(made.id, 'leaves')
    expect(leaves.headers['content-type']).toBe('text/plain;charset=UTF-8')
    expect(leaves.text).toBe(lines.map((line, i) => `${i + 1}:${rootOf([line]).toString('hex')}\n`).join(''))
  })

  test.each([
    ['1/proof?size=0', 'invalid-query', 'size'],
    ['2/proof?size=1', 'invalid-query', 'size'],
    ['1/proof?size=3', 'invalid-query', 'size'],
    ['1/proof?size=x', 'invalid-query', 'size'],
    ['1/proof?size=-1', 'invalid-query', 'size'],
    ['1/proof?size=01', 'invalid-query', 'size'],
    ['1/proof?other=1', 'invalid-query', 'other'],
    ['0/proof', 'invalid-path', 'seq'],
    ['x/proof', 'invalid-path', 'seq'],
    ['checkpoint/proof', 'invalid-path', 'seq'],
    ['3/proof', 'not-found', undefined],
    ['999999999999999/proof', 'not-found', undefined],
    ['consistency', 'invalid-query', 'from'],
    ['consistency?from=x', 'invalid-query', 'from'],
    ['consistency?from=3', 'invalid-query', 'from'],
    ['consistency?from=2&to=1', 'invalid-query', 'from'],
    ['consistency?from=1&to=3', 'invalid-query', 'to'],
    ['consistency?from=1&to=', 'invalid-query', 'to'],
    ['1/proof/x', 'not-found', undefined],
    ['checkpoint/x', 'not-found', undefined],
  ])('%s of a log of two is refused: %s', async (path, code, field) => {
    const { id } = await two
    const { json } = await audit(id, path)
    expect([json.code, json.fields?.[0]?.field]).toEqual([code, field])
  })

  test('they are for administrators, and read alone', async () => {
    const made = await gateway.organisation()
    for (const path of ['checkpoint', 'leaves', 'consistency?from=1', '1/proof']) {
      const whole = `/admin/organisations/${made.id}/audit/${path}`
      expect((await gateway.ask(whole)).json.code).toBe('missing-token')
      expect((await gateway.ask(whole, { token: made.token })).json.code).toBe('invalid-token')
      const post = await gateway.ask(whole, { method: 'POST', token: gateway.adminSecret })
      expect([post.json.code, post.headers.allow]).toEqual(['method-not-allowed', 'GET'])
    }
    const key = await gateway.ask('/audit/key', { method: 'POST' })
    expect([key.json.code, key.headers.allow]).toEqual(['method-not-allowed', 'GET, HEAD'])
  })

  test('the leaves of more records than are read at once are all there', async () => {
    const made = await gateway.organisation()
    const storage = await storageOf(made.id)
    const [row] = await storage.exec('select max(seq) as seq from records')
    // Copies: the stored tree is not theirs, but the list is read from rows as they are.
    await storage.exec(
      `insert into records with recursive n (seq) as (select ${Number(row?.seq) + 1} union all select seq + 1 from n where seq < 4100)
       select n.seq, time, event, actor, connection_id, version, request_id, attempt, open_from, intent, record, hashes
       from n join records r on r.seq = 1`,
    )
    gateway.unverified.delete(made.id)
    await gateway.restart()
    const lines = (await audit(made.id, 'leaves')).text.split('\n')
    gateway.unverified.delete(made.id)
    expect(lines.length).toBe(4101)
    expect(lines.slice(0, -1).map(line => Number(line.split(':')[0]))).toEqual(
      Array.from({ length: 4100 }, (_, i) => i + 1),
    )
  })
})

describe('a receipt', () => {
  const receipt = (id: string, seq: number | string, token: string) =>
    gateway.ask(`/o/${id}/receipts/${seq}`, { token })
  const seqOf = (answer: { headers: Record<string, unknown> }) =>
    Number(String(answer.headers['audit-receipt']).split(':')[0])

  test('convinces on its own, and leaves no record', async () => {
    const made = await gateway.organisation()
    const answers = [
      await put(gateway, made),
      await gateway.ask(versionPath(made.id, 'CONN1', '1.4.0'), { token: made.token }),
      await put(gateway, made, { body: '{}' }),
    ]
    const log = await logOf(gateway, made.id)
    for (const answer of answers) {
      const { status, headers, json } = await receipt(made.id, seqOf(answer), made.token)
      expect([status, headers['content-type'], headers['audit-receipt']]).toEqual([
        200,
        'application/json',
        undefined,
      ])
      expect(headers.ratelimit).toMatch(/^"token";r=\d+;t=\d+$/)
      expect(Object.keys(json)).toEqual(['record', 'leaf', 'proof', 'checkpoint'])
      expect(`${seqOf(answer)}:${json.leaf}`).toBe(answer.headers['audit-receipt'])
      expect(json.record).toBe(log[seqOf(answer) - 1]?.line)
      const checked = checkReceipt(json, await keys())
      expect(checked).toHaveProperty('holds')
      for (const changed of [
        { ...json, record: json.record.replace('"seq"', ' "seq"') },
        { ...json, record: log[0]?.line },
        { ...json, leaf: '00'.repeat(32) },
        { ...json, proof: json.proof.slice(1) },
        { ...json, checkpoint: json.checkpoint.replace('\n', '\n1') },
        { ...json, checkpoint: undefined },
        {},
        undefined,
      ]) {
        expect(checkReceipt(changed, await keys())).toHaveProperty('problem')
      }
    }
    expect((await logOf(gateway, made.id)).length).toBe(log.length)
  })

  test('of an attempt that this token made is its own, and after a rotation still', async () => {
    const made = await gateway.organisation()
    const seq = seqOf(await put(gateway, made))
    expect(JSON.parse((await receipt(made.id, seq - 1, made.token)).json.record).event).toBe(
      'update.attempted',
    )
    const path = `/organisations/${made.id}/tokens/${made.tokenId}/rotate`
    const rotated = (await gateway.admin('POST', path, {})).json.token
    expect((await receipt(made.id, seq, rotated)).status).toBe(200)
    expect((await receipt(made.id, seq, made.token)).json.code).toBe('invalid-token')
  })

  test('of others is as one that does not exist', async () => {
    const made = await gateway.organisation()
    const own = seqOf(await put(gateway, made))
    const other = await gateway.admin('POST', `/organisations/${made.id}/tokens`, {
      name: 'x',
      connections: ['*'],
    })
    // One's own, the session's, the token's own making, and none.
    const answers = []
    for (const seq of [own, own - 1, 1, 2, own + 1, 5_000, 999_999_999_999_999]) {
      const { status, json } = await receipt(made.id, seq, other.json.token)
      const { instance: _, ...body } = json
      answers.push(JSON.stringify([status, body]))
    }
    expect(new Set(answers).size).toBe(1)
    expect(JSON.parse(answers[0] as string)).toMatchObject([404, { code: 'not-found' }])
    expect((await receipt(made.id, 1, made.token)).json.code).toBe('not-found')
    const elsewhere = await gateway.organisation()
    expect((await receipt(elsewhere.id, own, made.token)).json.code).toBe('invalid-token')
    const rejected = (await eventsOf(gateway, made.id)).filter(event => event === 'read.rejected')
    expect(rejected.length).toBe(8)
  })

  test('is refused as every read is, and counts against the rate', async () => {
    const made = await gateway.organisation({ rateLimit: { requests: 3, windowSeconds: 60 } })
    const seq = seqOf(await put(gateway, made))
    expect((await receipt(made.id, seq, mintToken(randomBytes).token)).json.code).toBe('invalid-token')
    expect((await gateway.ask(`/o/${made.id}/receipts/${seq}`)).json.code).toBe('missing-token')
    expect((await receipt(made.id, seq, made.token)).headers.ratelimit).toMatch(/r=1;/)
    expect((await receipt(made.id, 'x', made.token)).json).toMatchObject({
      code: 'invalid-path',
      fields: [{ field: 'seq' }],
    })
    expect((await receipt(made.id, seq, made.token)).json.code).toBe('rate-limited')
    const post = await gateway.ask(`/o/${made.id}/receipts/1`, { method: 'POST', token: made.token })
    expect([post.json.code, post.headers.allow]).toEqual(['method-not-allowed', 'GET'])
    const query = await gateway.ask(`/o/${made.id}/receipts/1?x`, { token: made.token })
    expect(query.json.code).toBe('rate-limited')
  })
})

test('500 parallel updates leave one log without a gap, under checkpoints that extend each other', async () => {
  const made = await gateway.organisation()
  const noted: Promise<Awaited<ReturnType<typeof checkpointOf>>>[] = []
  const updates = Array.from({ length: 500 }, (_, i) => {
    if (i % 50 === 0) noted.push(checkpointOf(made.id))
    return put(gateway, made, { connection: `CONN${i % 100}` }).then(async answer => {
      if (i % 50 === 0) noted.push(checkpointOf(made.id))
      return answer
    })
  })
  const answers = await Promise.all(updates)
  // What is more than may wait is refused; of the rest, one record each closes an attempt.
  const applied = answers.filter(({ status }) => status === 200)
  expect(new Set(applied.map(({ headers }) => headers['audit-receipt'])).size).toBe(applied.length)
  const checkpoints = await Promise.all([...noted, checkpointOf(made.id)])
  checkpoints.sort((a, b) => a.size - b.size)
  const log = await logOf(gateway, made.id)
  const lines = log.map(({ line }) => line)
  expect(log.map(({ record }) => record.seq)).toEqual(Array.from(log, (_, i) => i + 1))
  expect(log.filter(({ record }) => record.event === 'update.succeeded').length).toBe(applied.length)
  for (const [index, { size, root }] of checkpoints.entries()) {
    expect(root).toEqual(rootOf(lines.slice(0, size)))
    const next = checkpoints[index + 1] ?? { size, root }
    const { json } = await audit(made.id, `consistency?from=${size}&to=${next.size}`)
    expect(extend(size, next.size, bytes(json.proof), root, next.root)).toBe(true)
  }
}, 120_000)

test('what the README asks for, in its order and while records are written, holds', async () => {
  const made = await gateway.organisation()
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
  const asked = [
    ...readme.matchAll(/^ {4}audit (\S+)(?: -H '(\S+): (\S+)')? > (checkpoint|leaves|export\.ndjson)$/gm),
  ]
  expect(asked.length).toBe(3)
  const folder = mkdtempSync(join(tmpdir(), 'evidence-'))
  const save = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  let writing = true
  const writer = async (connection: string) => {
    while (writing) await put(gateway, made, { connection })
  }
  const writers = Promise.all([writer('CONN2'), writer('CONN3')])
  try {
    await put(gateway, made)
    for (const [, path = '', header, value = '', name = ''] of asked) {
      const { status, text } = await gateway.admin(
        'GET',
        `/organisations/${made.id}/audit${path.replace("''", '')}`,
        undefined,
        header === undefined ? {} : { [header]: value },
      )
      expect(status).toBe(200)
      save(name, text)
      // However fast the others are, something was written in between.
      await put(gateway, made)
    }
    const held = (name: string) => join(folder, name)
    const { code, lines } = await answer(
      [
        held('export.ndjson'),
        ...['--checkpoint', held('checkpoint'), '--leaves', held('leaves')],
        ...['--key', save('key', (await gateway.ask('/audit/key')).text)],
      ],
      () => {},
    )
    expect([code, lines]).toEqual([
      0,
      [
        expect.stringMatching(/^OK {6}\d+ records are the log /),
        expect.stringMatching(/^NOTE {4}records \d+ to \d+ are newer than the last checkpoint/),
      ],
    ])
  } finally {
    writing = false
    await writers
    rmSync(folder, { recursive: true })
  }
})
