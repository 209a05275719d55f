// Checks the primitives against published vectors, and that a sealed value opens with its key and context alone.
import { createHmac } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  concat,
  deriveKey,
  equalDigests,
  fromBase64,
  hmacSha256,
  open,
  randomBytes,
  Secret,
  seal,
  sha256,
  sha256Hex,
  toHex,
  uuidv7,
} from '../../src/crypto.ts'

test('bytes stand one after the other, and as two digits each, as Node has them', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), chunks => {
      expect(Buffer.compare(concat(...chunks), Buffer.concat(chunks))).toBe(0)
      expect(toHex(concat(...chunks))).toBe(Buffer.concat(chunks).toString('hex'))
    }),
  )
})

describe('sha256', () => {
  // FIPS 180-4, the examples of NIST.
  test.each([
    ['nothing', '', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'two blocks',
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
    [
      'a million a',
      'a'.repeat(1_000_000),
      'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0',
    ],
  ])('of %s', (_, text, hex) => {
    expect(toHex(sha256(text))).toBe(hex)
    expect(toHex(sha256(new TextEncoder().encode(text)))).toBe(hex)
    expect(sha256Hex(text)).toBe(hex)
    expect(sha256Hex(new TextEncoder().encode(text))).toBe(hex)
  })

  test('of a text is that of its bytes in UTF-8', () => {
    expect(sha256('é')).toEqual(sha256(Uint8Array.of(0xc3, 0xa9)))
    expect(sha256('ab\ud800')).toEqual(sha256('ab\ufffd'))
  })
})

test('toHex of a part of a buffer', () => {
  expect(toHex(Uint8Array.of(0, 1, 0xab, 0xff).subarray(1, 3))).toBe('01ab')
  expect(toHex(new Uint8Array())).toBe('')
})

test.each<[string, number[], number[], boolean]>([
  ['the same', [1, 2], [1, 2], true],
  ['another first byte', [0, 2], [1, 2], false],
  ['another last byte', [1, 3], [1, 2], false],
  ['a beginning', [1], [1, 2], false],
  ['more', [1, 2, 3], [1, 2], false],
  ['nothing and something', [], [1], false],
])('equalDigests: %s', (_, a, b, equal) => {
  expect(equalDigests(Uint8Array.from(a), Uint8Array.from(b))).toBe(equal)
})

test('randomBytes gives as many as asked for, and others each time', () => {
  expect([0, 1, 32].map(length => randomBytes(length).byteLength)).toEqual([0, 1, 32])
  expect(randomBytes(32)).not.toEqual(randomBytes(32))
})

describe('uuidv7', () => {
  test('the example of RFC 9562, appendix A.6', () => {
    const time = Date.parse('2022-02-22T14:22:22.00-05:00')
    const random = '919108f7-52d1-4cc3-98c4-dc0c0c07398f'
    expect(uuidv7(time, random)).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
  })

  test('the first and the last millisecond that it can hold', () => {
    const random = '00000000-0000-4000-8000-000000000000'
    expect(uuidv7(0, random)).toBe('00000000-0000-7000-8000-000000000000')
    expect(uuidv7(2 ** 48 - 1, random)).toBe('ffffffff-ffff-7000-8000-000000000000')
  })

  test('they sort by their time, and differ', () => {
    const time = fc.nat({ max: 2 ** 48 - 2 })
    fc.assert(
      fc.property(time, time, (a, b) => {
        if (a !== b) expect(uuidv7(a) < uuidv7(b)).toBe(a < b)
        expect(uuidv7(a)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        expect(uuidv7(a)).not.toBe(uuidv7(a))
        expect(Number.parseInt(uuidv7(a).replace('-', '').slice(0, 12), 16)).toBe(a)
      }),
    )
  })
})

describe('fromBase64', () => {
  // RFC 4648, section 10.
  test.each([
    ['', ''],
    ['Zg==', 'f'],
    ['Zm8=', 'fo'],
    ['Zm9v', 'foo'],
    ['Zm9vYg==', 'foob'],
    ['Zm9vYmE=', 'fooba'],
    ['Zm9vYmFy', 'foobar'],
  ])('%j is %j', (text, plain) => {
    expect(fromBase64(text)).toEqual(new Uint8Array(Buffer.from(plain)))
  })

  test('both characters of the standard alphabet', () => {
    expect(fromBase64('+/+/')).toEqual(Uint8Array.of(0xfb, 0xff, 0xbf))
  })

  test.each([
    ['no padding', 'Zg'],
    ['half a padding', 'Zg='],
    ['too much padding', 'Zm8=='],
    ['padding inside', 'Zg==Zg=='],
    ['bits that are left over', 'Zh=='],
    ['the alphabet of URLs', '-_-_'],
    ['a line end', 'Zm9v\n'],
    ['a space', 'Zm 9v'],
    ['a character that is none', 'Zm9*'],
    ['one character', 'Z'],
    ['beyond ASCII', 'Zm9é'],
  ])('undefined for %s', (_, text) => {
    expect(fromBase64(text)).toBeUndefined()
  })

  test('any bytes come back', () => {
    fc.assert(
      fc.property(fc.uint8Array(), bytes => {
        expect(fromBase64(Buffer.from(bytes).toString('base64'))).toEqual(new Uint8Array(bytes))
      }),
    )
  })
})

describe('deriveKey', () => {
  const master = sha256('master')
  test('is HKDF-SHA-256 as RFC 5869 defines it, without a salt', () => {
    const pseudorandom = createHmac('sha256', new Uint8Array(32)).update(master).digest()
    const key = createHmac('sha256', pseudorandom).update('versori-gateway/session\x01').digest()
    expect(deriveKey(master, 'session')).toEqual(new Uint8Array(key))
  })

  test('another purpose or master is another key', () => {
    const keys = [deriveKey(master, 'session'), deriveKey(master, 'other'), deriveKey(sha256('x'), 'session')]
    expect(new Set(keys.map(toHex)).size).toBe(3)
    expect(deriveKey(master, 'session')).toEqual(keys[0])
    expect(keys.every(key => key.byteLength === 32)).toBe(true)
    expect(keys).not.toContainEqual(master)
  })

  test('what is sealed for one purpose does not open for another', () => {
    const sealed = seal(deriveKey(master, 'session'), 'x', [])
    expect(open(deriveKey(master, 'other'), sealed, [])).toBeUndefined()
  })
})

describe('seal and open', () => {
  const key = sha256('key')
  const context = ['ORG', 'https://platform.example']
  const sealed = seal(key, 'cookie=value', context)

  test('any text and context', () => {
    const text = fc.string({ unit: 'grapheme' })
    fc.assert(
      fc.property(text, fc.array(fc.string()), (plaintext, context) => {
        const sealed = seal(key, plaintext, context)
        expect(sealed.byteLength).toBe(12 + Buffer.byteLength(plaintext) + 16)
        expect(open(key, sealed, context)).toBe(plaintext)
      }),
    )
  })

  test('nonce, ciphertext and tag as WebCrypto makes them open', async () => {
    const nonce = Uint8Array.from({ length: 12 }, (_, i) => i)
    const webKey = await crypto.subtle.importKey('raw', Uint8Array.from(key), 'AES-GCM', false, ['encrypt'])
    const additionalData = new TextEncoder().encode(JSON.stringify(context))
    const algorithm = { name: 'AES-GCM', iv: nonce, additionalData, tagLength: 128 }
    const rest = await crypto.subtle.encrypt(algorithm, webKey, new TextEncoder().encode('cookie=value'))
    expect(open(key, Uint8Array.of(...nonce, ...new Uint8Array(rest)), context)).toBe('cookie=value')
  })

  test.each<[string, Uint8Array, string[]]>([
    ['another key', sha256('other'), context],
    ['another organisation', key, ['ORG2', 'https://platform.example']],
    ['another platform', key, ['ORG', 'https://evil.example']],
    ['the parts swapped', key, context.toReversed()],
    ['the parts joined', key, [context.join('')]],
    ['the border moved', key, ['ORGh', 'ttps://platform.example']],
    ['one part more', key, [...context, '']],
    ['one part less', key, ['ORG']],
    ['parts that hold the separator', key, ['ORG","https://platform.example']],
    ['none', key, []],
  ])('%s does not open it', (_, key, context) => {
    expect(open(key, sealed, context)).toBeUndefined()
  })

  test('no bit can be changed', () => {
    for (let bit = 0; bit < sealed.byteLength * 8; bit++) {
      const changed = Uint8Array.from(sealed)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(open(key, changed, context), `bit ${bit}`).toBeUndefined()
    }
  })

  test('nothing can be cut off or added', () => {
    for (let length = 0; length < sealed.byteLength; length++) {
      expect(open(key, sealed.subarray(0, length), context), `first ${length}`).toBeUndefined()
      expect(
        open(key, sealed.subarray(sealed.byteLength - length), context),
        `last ${length}`,
      ).toBeUndefined()
    }
    expect(open(key, Uint8Array.of(...sealed, 0), context)).toBeUndefined()
  })

  test('two seals of one text differ in their nonce and in the rest', () => {
    const again = seal(key, 'cookie=value', context)
    expect(again.subarray(0, 12)).not.toEqual(sealed.subarray(0, 12))
    expect(again.subarray(12)).not.toEqual(sealed.subarray(12))
  })

  test('the text does not show', () => {
    expect(Buffer.from(sealed).includes('cookie')).toBe(false)
  })

  test('a key of another length is a bug, not a weaker seal', () => {
    expect(() => seal(key.subarray(0, 16), 'x', context)).toThrow()
  })
})

test.each<[string, (secret: Secret) => string]>([
  ['a template', secret => `${secret}`],
  ['String', secret => String(secret)],
  ['JSON', secret => JSON.stringify({ secret, list: [secret] })],
  ['util.inspect', secret => inspect(secret)],
  ['util.inspect with all there is', secret => inspect({ secret }, { showHidden: true, depth: 9 })],
  ['its keys', secret => Reflect.ownKeys(secret).join()],
  ['a copy', secret => JSON.stringify({ ...secret })],
  ['a clone', secret => JSON.stringify(structuredClone(secret))],
  ['an error', secret => inspect(new Error(`failed with ${secret}`, { cause: secret }))],
  ['a locale', secret => secret.toLocaleString()],
])('a secret does not show in %s', (_, print) => {
  const secret = new Secret('hunter2')
  expect(print(secret)).not.toContain('hunter2')
  expect(secret.reveal()).toBe('hunter2')
})

// RFC 4231, test cases 2 and 6, whose key is longer than a block.
test.each([
  [
    'Jefe',
    'what do ya want for nothing?',
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  ],
  [
    '\u00aa'.repeat(131),
    'Test Using Larger Than Block-Size Key - Hash Key First',
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  ],
])('HMAC-SHA-256 with the key %s', (key, text, hex) => {
  expect(Buffer.from(hmacSha256(Buffer.from(key, 'latin1'), text), 'base64').toString('hex')).toBe(hex)
})
