/** Checks webhook signatures: the published vectors of each scheme, and that every trap fails closed. */
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type SignatureScheme, verifySignature } from '../../src/auth/webhook-signature.ts'
import { Secret } from '../../src/crypto.ts'

const now = Date.parse('2026-11-24T09:30:00Z')
const seconds = now / 1000
const standard: SignatureScheme = { type: 'standard-webhooks' }
const github: SignatureScheme = { type: 'github' }
const stripe: SignatureScheme = { type: 'stripe' }
const body = Buffer.from('{"a":1}')

function verify(
  scheme: SignatureScheme,
  secrets: string | string[],
  headers: Record<string, string>,
  { at = now, of = body }: { at?: number; of?: Buffer } = {},
) {
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  const request = {
    header: (name: string) => lower.get(name.toLowerCase()) ?? null,
    body: new Uint8Array(of),
  }
  return verifySignature(
    scheme,
    [secrets].flat().map(each => new Secret(each)),
    request,
    at,
  )
}

const hmac = (key: Buffer | string, text: string | Buffer, hash = 'sha256') =>
  createHmac(hash, key).update(text)
const invalid = (reason: string) => ({ valid: false, reason })

describe('published vectors', () => {
  // Standard Webhooks reference libraries, Svix server tests.
  const message = { id: 'msg_27UH4WbU6Z5A5EzD8u03UvzRbpk', timestamp: 1649367553 }
  const other = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: 1614265330 }
  const email = '{"email":"test@example.com","username":"test_user"}'
  const several =
    'v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc='
  test.each([
    [
      'one',
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      other,
      '{"test": 2432232314}',
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      true,
    ],
    [
      'another',
      'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
      message,
      email,
      'v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=',
      true,
    ],
    [
      'a wrong one',
      'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
      message,
      email,
      'v1,R3PTzyfHASBKHH98a7yexTwaJ4yNIcGhFQc1yuN+BPU=',
      false,
    ],
    [
      'one of several',
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      other,
      '{"test": 2432232314}',
      several,
      true,
    ],
    [
      'Ed25519',
      'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=',
      other,
      '{"test": 2432232314}',
      'v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==',
      true,
    ],
  ])('Standard Webhooks: %s', async (_, secret, { id, timestamp }, text, signature, valid) => {
    for (const family of ['webhook', 'svix']) {
      const headers = {
        [`${family}-id`]: id,
        [`${family}-timestamp`]: `${timestamp}`,
        [`${family}-signature`]: signature,
      }
      const result = await verify(standard, secret, headers, { at: timestamp * 1000, of: Buffer.from(text) })
      expect(result).toEqual(valid ? { valid: true, id } : invalid('mismatch'))
    }
  })

  test('GitHub: its documentation', async () => {
    const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
    const of = Buffer.from('Hello, World!')
    const secret = "It's a Secret to Everybody"
    expect(await verify(github, secret, { 'X-Hub-Signature-256': signature }, { of })).toEqual({
      valid: true,
    })
    expect(await verify(github, `${secret}!`, { 'X-Hub-Signature-256': signature }, { of })).toEqual(
      invalid('mismatch'),
    )
  })

  test('Stripe: its header', async () => {
    const header = 't=1492774577,v1=88a022085c6bdb887b02cb26ff76dd681234d9675c0f22844059f55552a8883a'
    const of = Buffer.from('{"id":"evt_test_webhook","object":"event"}')
    const options = { at: 1492774577_000, of }
    expect(await verify(stripe, 'whsec_test_secret', { 'Stripe-Signature': header }, options)).toEqual({
      valid: true,
    })
  })
})

const key = randomBytes(32)
const secret = `whsec_${key.toString('base64')}`
function signed(id = 'msg_1', timestamp: string | number = seconds, text: Buffer = body) {
  const signature = `v1,${hmac(key, Buffer.concat([Buffer.from(`${id}.${timestamp}.`), text])).digest('base64')}`
  return { 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': signature }
}

describe('Standard Webhooks', () => {
  const good = signed()
  const stripes = good['webhook-signature']
  test.each([
    ['as it should be', good, { valid: true, id: 'msg_1' }],
    ['without an id', { ...good, 'webhook-id': undefined }, invalid('missing')],
    ['without a signature', { ...good, 'webhook-signature': undefined }, invalid('missing')],
    ['an id that reaches into the time', signed('msg_1.1'), invalid('malformed')],
    ['an id of two headers', { ...good, 'webhook-id': 'msg_1, msg_2' }, invalid('malformed')],
    ['another id', { ...good, 'webhook-id': 'msg_2' }, invalid('mismatch')],
    ['a time that is no number', signed('msg_1', '0x1'), invalid('malformed')],
    ['a time with a sign', signed('msg_1', `+${seconds}`), invalid('malformed')],
    [
      'a time of two headers',
      { ...good, 'webhook-timestamp': `${seconds}, ${seconds}` },
      invalid('malformed'),
    ],
    ['another time', { ...good, 'webhook-timestamp': String(seconds + 1) }, invalid('mismatch')],
    ['no version', { ...good, 'webhook-signature': stripes.slice(3) }, invalid('malformed')],
    ['an empty signature', { ...good, 'webhook-signature': 'v1,' }, invalid('malformed')],
    ['a cut signature', { ...good, 'webhook-signature': stripes.slice(0, -4) }, invalid('mismatch')],
    [
      'signatures of two headers',
      { ...good, 'webhook-signature': `v1,AAAA, ${stripes}` },
      invalid('malformed'),
    ],
    [
      'base64 that is not canonical',
      { ...good, 'webhook-signature': `${stripes.slice(0, -1)}` },
      invalid('malformed'),
    ],
    [
      'the right one as another version',
      { ...good, 'webhook-signature': stripes.replace('v1', 'v2') },
      invalid('mismatch'),
    ],
    [
      'sixteen',
      { ...good, 'webhook-signature': `${'v1,AAAA '.repeat(15)}${stripes}` },
      { valid: true, id: 'msg_1' },
    ],
    [
      'seventeen',
      { ...good, 'webhook-signature': `${'v1,AAAA '.repeat(16)}${stripes}` },
      invalid('malformed'),
    ],
    [
      'both families, of which one counts',
      { ...good, 'svix-id': 'x', 'svix-timestamp': '1', 'svix-signature': 'v1,AAAA' },
      { valid: true, id: 'msg_1' },
    ],
    [
      'a family pieced together',
      { 'svix-id': 'msg_1', 'svix-timestamp': `${seconds}`, 'webhook-signature': stripes },
      invalid('missing'),
    ],
  ])('%s', async (_, headers, expected) => {
    const given = Object.fromEntries(
      Object.entries(headers).filter(([, value]) => value !== undefined),
    ) as Record<string, string>
    expect(await verify(standard, secret, given)).toEqual(expected)
  })

  test.each([
    [300, true],
    [301, false],
    [-300, true],
    [-301, false],
  ])('a time %i seconds from now', async (offset, valid) => {
    const result = await verify(standard, secret, signed('msg_1', seconds + offset))
    expect(result).toEqual(valid ? { valid, id: 'msg_1' } : invalid('stale'))
  })

  test('any of several secrets, and none that is empty or none at all', async () => {
    expect((await verify(standard, ['whsec_AAAA', secret], good)).valid).toBe(true)
    expect((await verify(standard, [], good)).valid).toBe(false)
    const empty = {
      ...good,
      'webhook-signature': `v1,${hmac('', `msg_1.${seconds}.${body}`).digest('base64')}`,
    }
    for (const none of ['', 'whsec_', 'whpk_', 'no base64!']) {
      expect((await verify(standard, none, empty)).valid).toBe(false)
    }
  })

  test('a public key is never a shared secret, nor the other way round', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
    const text = Buffer.from(`msg_1.${seconds}.${body}`)
    const byHmac = { ...good, 'webhook-signature': `v1,${hmac(raw, text).digest('base64')}` }
    const byKey = { ...good, 'webhook-signature': `v1a,${sign(null, text, privateKey).toString('base64')}` }
    const [shared, open] = [`whsec_${raw.toString('base64')}`, `whpk_${raw.toString('base64')}`]
    expect(await verify(standard, open, byKey)).toEqual({ valid: true, id: 'msg_1' })
    expect(await verify(standard, open, byHmac)).toEqual(invalid('mismatch'))
    expect(await verify(standard, shared, byKey)).toEqual(invalid('mismatch'))
    expect(await verify(standard, shared, byHmac)).toEqual({ valid: true, id: 'msg_1' })
    expect(await verify(standard, `whpk_${raw.subarray(1).toString('base64')}`, byKey)).toEqual(
      invalid('mismatch'),
    )
  })
})

describe('Stripe', () => {
  const v1 = hmac('s', `${seconds}.${body}`).digest('hex')
  const zero = '00'.repeat(32)
  test.each([
    ['as it should be', `t=${seconds},v1=${v1}`, { valid: true }],
    ['one of two, while the secret is rolled', `t=${seconds},v1=${zero},v1=${v1}`, { valid: true }],
    ['with a test scheme beside it', `t=${seconds},v1=${v1},v0=${zero}`, { valid: true }],
    ['the right one as a test scheme', `t=${seconds},v0=${v1}`, invalid('malformed')],
    ['two times', `t=${seconds},t=${seconds},v1=${v1}`, invalid('malformed')],
    ['two headers', `t=${seconds},v1=${zero}, t=${seconds},v1=${v1}`, invalid('malformed')],
    ['no time', `v1=${v1}`, invalid('malformed')],
    ['no signature', `t=${seconds}`, invalid('malformed')],
    ['upper case', `t=${seconds},v1=${v1.toUpperCase()}`, invalid('malformed')],
    [
      'a stale time',
      `t=${seconds - 301},v1=${hmac('s', `${seconds - 301}.${body}`).digest('hex')}`,
      invalid('stale'),
    ],
    ['a time ahead', `t=${seconds + 301},v1=${v1}`, invalid('stale')],
  ])('%s', async (_, header, expected) => {
    expect(await verify(stripe, 's', { 'stripe-signature': header })).toEqual(expected)
  })
})

describe('one header', () => {
  const hex = hmac('s', body).digest('hex')
  const scheme: SignatureScheme = {
    type: 'hmac',
    header: 'X-Sig',
    hash: 'SHA-512',
    encoding: 'base64',
    prefix: 'h=',
  }
  const text = `h=${hmac('s', body, 'sha512').digest('base64')}`
  test.each<[string, SignatureScheme, string, object]>([
    ['GitHub', github, `sha256=${hex}`, { valid: true }],
    ['GitHub without its prefix', github, hex, invalid('malformed')],
    ['GitHub as SHA-1', github, `sha1=${hmac('s', body, 'sha1').digest('hex')}`, invalid('malformed')],
    ['GitHub twice', github, `sha256=${hex}, sha256=${hex}`, invalid('malformed')],
    ['GitHub in upper case', github, `sha256=${hex.toUpperCase()}`, invalid('malformed')],
    ['GitHub, half', github, `sha256=${hex.slice(0, 32)}`, invalid('mismatch')],
    ['GitHub, empty', github, 'sha256=', invalid('malformed')],
    ['as configured', scheme, text, { valid: true }],
    ['another prefix', scheme, text.replace('h=', 'g='), invalid('malformed')],
    ['another hash', { ...scheme, hash: 'SHA-384' }, text, invalid('mismatch')],
    ['another encoding', { ...scheme, encoding: 'hex' }, text, invalid('malformed')],
    ['no prefix', { ...scheme, prefix: '' }, text.slice(2), { valid: true }],
  ])('%s', async (_, of, value, expected) => {
    const name = of.type === 'hmac' ? of.header : 'x-hub-signature-256'
    expect(await verify(of, 's', { [name]: value })).toEqual(expected)
  })

  test('an empty secret signs nothing', async () => {
    const value = `sha256=${hmac('', body).digest('hex')}`
    expect((await verify(github, '', { 'x-hub-signature-256': value })).valid).toBe(false)
  })
})

test('bodies of any bytes are signed as they are, and no other body fits', async () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map(each => Buffer.from(each))
  await fc.assert(
    fc.asyncProperty(bytes, bytes, async (one, other) => {
      const headers = { 'x-hub-signature-256': `sha256=${hmac('s', one).digest('hex')}` }
      expect((await verify(github, 's', headers, { of: one })).valid).toBe(true)
      expect((await verify(github, 's', headers, { of: other })).valid).toBe(one.equals(other))
      expect((await verify(standard, secret, signed('m', seconds, one), { of: other })).valid).toBe(
        one.equals(other),
      )
    }),
  )
})
