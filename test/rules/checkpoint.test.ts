/**
 * Checks signed notes: the verifier against the note that the format's first implementation publishes, and what the gateway
 * signs against a reading of the specification that shares nothing with it.
 */
import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { SigningKey } from '../../src/crypto.ts'
import { checkpoint, keyName, verifierKey } from '../../src/organisation/checkpoint.ts'
import { openCheckpoint, openNote, parseKeys } from '../../src/verify/note.ts'

// golang.org/x/mod/sumdb/note, its example.
const peter = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
const text =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
const signature =
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
/** The seed of the example's signer key, in PKCS #8. */
const seed = Buffer.from('AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz', 'base64').subarray(1)
const peterKey = new SigningKey(Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]))

const keysOf = (lines: string) => {
  const keys = parseKeys(lines)
  if (!keys) throw new Error('no keys')
  return keys
}
const newKey = () =>
  new SigningKey(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' }))

describe('the published note', () => {
  test('opens with its key, also among other keys and signatures', () => {
    const keys = keysOf(peter)
    expect(openNote(Buffer.from(`${text}\n${signature}`), keys)).toMatchObject({ text })
    const other = `— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n`
    expect(openNote(Buffer.from(`${text}\n${other}${signature}`), keys)).toMatchObject({ text })
    const more = keysOf(`${verifierKey('other.example', newKey().publicKey)}\n\n  ${peter}  \n`)
    expect(openNote(Buffer.from(`${text}\n${signature}`), more)).toMatchObject({ text })
  })

  test('is what the same key signs here, under the same name', () => {
    expect(verifierKey('PeterNeumann', peterKey.publicKey)).toBe(peter)
    const signed = Buffer.from(peterKey.sign(text)).toString('base64')
    const published = Buffer.from(signature.split(' ')[2] as string, 'base64').subarray(4)
    expect(signed).toBe(published.toString('base64'))
  })

  test.each([
    ['a changed text', `${text.replace('think', 'thunk')}\n${signature}`],
    ['a changed signature', `${text}\n${signature.replace('x08go/ZJ', 'x08go/ZK')}`],
    [
      'a good signature and a bad one by the same key',
      `${text}\n${signature}${signature.replace('ZJku', 'ZJkv')}`,
    ],
    ['no signature', `${text}\n`],
    ['no empty line', `${text}${signature}`],
    ['no line feed at its end', `${text}\n${signature.trimEnd()}`],
    ['a hyphen for the dash', `${text}\n${signature.replace('—', '-')}`],
    ['something after the signatures', `${text}\n${signature}x\n`],
    ['a control character', `${text.replace('think', 'think\t')}\n${signature}`],
    ['carriage returns', `${text}\n${signature}`.replaceAll('\n', '\r\n')],
    ['base64 in another spelling', `${text}\n${signature.replace('=', '')}`],
    ['a signature by another name alone', `${text}\n${signature.replace('PeterNeumann', 'Peter')}`],
    ['nothing', ''],
  ])('is not believed with %s', (_, note) => {
    expect(openNote(Buffer.from(note), keysOf(peter))).toHaveProperty('problem')
  })

  test('is not believed where its bytes are not UTF-8, or too many', () => {
    const bytes = Buffer.from(`${text}\n${signature}`)
    expect(openNote(Buffer.concat([Buffer.from([0xff]), bytes]), keysOf(peter))).toHaveProperty('problem')
    const long = `${text}\n${signature}${'— a AAAAAAAAAAAAAAA=\n'.repeat(10_000)}`
    expect(openNote(Buffer.from(long), keysOf(peter))).toHaveProperty('problem')
  })

  test.each([
    ['another id', peter.replace('c74f20a3', 'c74f20a4')],
    ['another name', peter.replace('Neumann', 'Newman')],
    ['a changed key', peter.replace('ARpc', 'ARpd')],
    ['another algorithm', peter.replace('+ARpc', '+AhpC')],
    ['no key', 'PeterNeumann+c74f20a3'],
    ['a signer key', 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz'],
    ['a good one before it', `${peter}\nx`],
    ['nothing', '\n'],
  ])('a key with %s is none', (_, line) => {
    expect(parseKeys(line)).toBeUndefined()
  })
})

/** c2sp.org/signed-note and c2sp.org/tlog-checkpoint, read once more. */
function readCheckpoint(note: string, vkey: string): { origin: string; size: number; root: string } {
  const plus = [vkey.indexOf('+'), vkey.indexOf('+', vkey.indexOf('+') + 1)] as [number, number]
  const [name, id] = [vkey.slice(0, plus[0]), vkey.slice(plus[0] + 1, plus[1])]
  const key = Buffer.from(vkey.slice(plus[1] + 1), 'base64')
  expect(key[0]).toBe(1)
  expect(key.length).toBe(33)
  const hash = createHash('sha256').update(name).update('\n').update(key).digest()
  expect(hash.readUInt32BE(0).toString(16).padStart(8, '0')).toBe(id)

  expect(note.endsWith('\n')).toBe(true)
  const [body = '', signatures = ''] = note.split('\n\n')
  expect(note).toBe(`${body}\n\n${signatures}`)
  const lines = signatures.split('\n').slice(0, -1)
  expect(lines.length).toBe(1)
  const [dash, signer, encoded = ''] = (lines[0] as string).split(' ')
  expect([dash, signer]).toEqual(['\u2014', name])
  const bytes = Buffer.from(encoded, 'base64')
  expect(bytes.subarray(0, 4)).toEqual(hash.subarray(0, 4))
  expect(bytes.length).toBe(4 + 64)
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: key.subarray(1).toString('base64url') }
  const holds = verify(
    null,
    Buffer.from(`${body}\n`, 'utf8'),
    createPublicKey({ key: jwk, format: 'jwk' }),
    bytes.subarray(4),
  )
  expect(holds).toBe(true)
  const [origin = '', size = '', root = '', ...rest] = body.split('\n')
  expect(rest).toEqual([])
  expect(size).toMatch(/^(0|[1-9]\d*)$/)
  expect(Buffer.from(root, 'base64').length).toBe(32)
  return { origin, size: Number(size), root: Buffer.from(root, 'base64').toString('hex') }
}

describe('a checkpoint', () => {
  const root = createHash('sha256').digest()
  const signed = (host: string, size: number, key: SigningKey) =>
    checkpoint({ host, organisationId: 'ORG_1-a' }, size, root, key)

  test.each([
    ['gateway.example', 0, 'gateway.example/o/ORG_1-a'],
    ['127.0.0.1:8787', 12, '127.0.0.1:8787/o/ORG_1-a'],
    ['[::1]:8787', 2 ** 40, '[::1]:8787/o/ORG_1-a'],
    ['a+b.example', 1, 'a%2Bb.example/o/ORG_1-a'],
  ])('of %s, %i records, is what the specification says', (host, size, origin) => {
    const key = newKey()
    const note = signed(host, size, key)
    const vkey = verifierKey(host, key.publicKey)
    expect(readCheckpoint(note, vkey)).toEqual({ origin, size, root: root.toString('hex') })
    const opened = openCheckpoint(Buffer.from(note), keysOf(vkey))
    expect(opened).toEqual({ origin, size, root, signer: vkey.split('+').slice(0, 2).join('+') })
    expect(vkey.startsWith(`${keyName(host)}+`)).toBe(true)
  })

  test('is not believed under another key of the same name, nor for the log of another host', () => {
    const key = newKey()
    const note = signed('gateway.example', 3, key)
    const other = keysOf(verifierKey('gateway.example', newKey().publicKey))
    expect(openCheckpoint(Buffer.from(note), other)).toEqual({
      problem: 'is signed by none of the keys given',
    })
    const body = `other.example/o/ORG\n1\n${root.toString('base64')}\n`
    const hash = createHash('sha256').update('gateway.example\n\x01').update(key.publicKey).digest()
    const forged = Buffer.concat([hash.subarray(0, 4), key.sign(body)]).toString('base64')
    const own = keysOf(verifierKey('gateway.example', key.publicKey))
    const opened = openCheckpoint(Buffer.from(`${body}\n— gateway.example ${forged}\n`), own)
    expect(opened).toEqual({ problem: 'is of other.example/o/ORG, which its key does not speak for' })
  })

  test.each([
    ['a size with a leading zero', `h/o/ORG\n01\n${root.toString('base64')}\n`],
    ['a negative size', `h/o/ORG\n-1\n${root.toString('base64')}\n`],
    ['a size past what is exact', `h/o/ORG\n9007199254740993\n${root.toString('base64')}\n`],
    ['a short root', 'h/o/ORG\n1\nAAAA\n'],
    ['no root', 'h/o/ORG\n1\n'],
    ['no origin', `\n1\n${root.toString('base64')}\n`],
  ])('with %s is none, though it is signed', (_, body) => {
    const key = newKey()
    const hash = createHash('sha256').update('h\n\x01').update(key.publicKey).digest()
    const note = `${body}\n— h ${Buffer.concat([hash.subarray(0, 4), key.sign(body)]).toString('base64')}\n`
    const keys = keysOf(verifierKey('h', key.publicKey))
    expect(openNote(Buffer.from(note), keys)).toHaveProperty('text')
    expect(openCheckpoint(Buffer.from(note), keys)).toEqual({
      problem: 'is a signed note, but no checkpoint',
    })
  })
})

test('a signing key shows nothing of itself', () => {
  const der = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' })
  const key = new SigningKey(der)
  const shown = `${key} ${JSON.stringify(key)} ${JSON.stringify({ ...key })}`
  for (const part of [der, der.subarray(16)]) {
    for (const encoding of ['base64', 'hex', 'latin1'] as const)
      expect(shown).not.toContain(part.toString(encoding))
  }
  expect(() => new SigningKey(der.subarray(0, 40))).toThrow()
})
