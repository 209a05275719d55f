/**
 * Checks how an event becomes a merge patch: what may be said when a hook is saved, what comes of an event, and that no event
 * makes it throw, leak or cost more than in proportion.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the templates.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Environment } from '@marcbachmann/cel-js'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { matchesVersion } from '../../src/auth/caller.ts'
import { withoutTokens } from '../../src/auth/token.ts'
import { parseEvent } from '../../src/update/event.ts'
import { loadExpressions } from '../../src/update/expression.ts'
import { type Mapped, type Mapping, mapEvent, mappingErrors } from '../../src/update/webhook-mapping.ts'

await loadExpressions()

const forbidden = (text: string) => withoutTokens(text) !== text
const token = `vgw_${'A'.repeat(65)}`

const base: Mapping = { version: '1.4.0', change: { isDefault: true } }
const templated = (text: string): Mapping => ({ version: '1.4.0', change: { description: text } })

function parsed(event: unknown): unknown {
  const result = parseEvent(Buffer.from(JSON.stringify(event)))
  if (!result.ok) throw new Error(JSON.stringify(result.refusal))
  return result.value
}
function map(mapping: Mapping, event: unknown, headers: Record<string, string> = {}): Mapped {
  return mapEvent(mapping, parsed(event), headers, matchesVersion, forbidden)
}
/** What a description template becomes: its text, or its failure. */
function described(text: string, event: unknown = {}, headers: Record<string, string> = {}): unknown {
  expect(mappingErrors(templated(text))).toEqual([])
  const mapped = map(templated(text), event, headers)
  if (mapped.kind === 'change') return JSON.parse(mapped.patch).description
  return mapped.kind === 'failed' ? mapped.problem : mapped.kind
}
/** What `when` comes to: true, false, or what failed. */
function holds(when: string, event: unknown, headers: Record<string, string> = {}): unknown {
  expect(mappingErrors({ ...base, when })).toEqual([])
  const mapped = map({ ...base, when }, event, headers)
  return mapped.kind === 'failed' ? mapped.problem.message : mapped.kind === 'change'
}

interface Release {
  action: string
  release: { name: string | null }
}
const require = createRequire(import.meta.url)
const examples = JSON.parse(
  readFileSync(require.resolve('@octokit/webhooks-examples/api.github.com/index.json'), 'utf8'),
) as { name: string; examples: Release[] }[]
const releases = examples.find(({ name }) => name === 'release')?.examples ?? []

test('the GitHub release examples become a change of their version when they are published or released', () => {
  const mapping: Mapping = {
    version: '${{ event.release.tag_name }}',
    versions: ['0.*'],
    when: "headers['x-github-event'] == 'release' && event.action in ['published', 'released'] && !event.release.prerelease",
    change: {
      isDefault: true,
      isLatest: '${{ !event.release.draft }}',
      description:
        "${{ event.release.tag_name }} of ${{ event.repository.full_name }} by ${{ event.sender.login }}: ${{ event.release.name == null ? 'no name' : event.release.name }}",
    },
  }
  expect(mappingErrors(mapping)).toEqual([])
  const actions = releases.map(({ action }) => action)
  expect(actions).toContain('published')
  for (const event of releases) {
    const mapped = map(mapping, event, { 'x-github-event': 'release' })
    if (event.action !== 'published' && event.action !== 'released') {
      expect(mapped).toEqual({ kind: 'ignored' })
      continue
    }
    expect(mapped).toEqual({
      kind: 'change',
      version: '0.0.1',
      patch: JSON.stringify({
        isDefault: true,
        isLatest: true,
        description: `0.0.1 of Codertocat/Hello-World by Codertocat: ${event.release.name ?? 'no name'}`,
      }),
    })
    expect(map(mapping, event, { 'x-github-event': 'push' })).toEqual({ kind: 'ignored' })
    expect(map({ ...mapping, versions: ['1.*'] }, event, { 'x-github-event': 'release' })).toEqual({
      kind: 'failed',
      problem: { field: 'version', message: 'matches none of versions' },
    })
  }
})

const saved: [what: string, change: Partial<Mapping>, field: string, message: string | RegExp][] = [
  ['an empty change', { change: {} }, 'change', 'must not be empty'],
  ['an unknown field', { change: { tag: 'a' } }, 'change.tag', 'is not a known field'],
  [
    'a field named __proto__',
    { change: JSON.parse('{"__proto__":true}') },
    'change.__proto__',
    'is not a known field',
  ],
  ['an id', { change: { id: 'a' } }, 'change.id', 'is read-only'],
  ['createdAt', { change: { createdAt: 'a' } }, 'change.createdAt', 'is read-only'],
  ['updatedAt', { change: { updatedAt: 'a' } }, 'change.updatedAt', 'is read-only'],
  ['publishedAt', { change: { publishedAt: null } }, 'change.publishedAt', 'is read-only'],
  ['no name', { change: { name: null } }, 'change.name', 'must be of type string'],
  ['a name that is a boolean', { change: { name: true } }, 'change.name', 'must be of type string'],
  ['no isDefault', { change: { isDefault: null } }, 'change.isDefault', 'must be of type boolean'],
  [
    'a boolean as text',
    { change: { isLatest: 'true' } },
    'change.isLatest',
    'must be true, false or one expression alone',
  ],
  [
    'a boolean in text',
    { change: { isLatest: ' ${{ true }}' } },
    'change.isLatest',
    'must be true, false or one expression alone',
  ],
  [
    'a boolean by a text',
    { change: { isLatest: "${{ 'true' }}" } },
    'change.isLatest',
    'must yield bool, not string',
  ],
  [
    'a boolean by a number',
    { change: { isDefault: '${{ 1 }}' } },
    'change.isDefault',
    'must yield bool, not int',
  ],
  [
    'a reserved name',
    { change: { name: 'latest' } },
    'change.name',
    'must not be default or latest, which are reserved',
  ],
  ['a name with a slash', { change: { name: 'a/b' } }, 'change.name', 'must not hold any of / \\ % ? # ;'],
  ['a version with a slash', { version: 'a/b' }, 'version', 'must not hold any of / \\ % ? # ;'],
  ['no version', { version: '' }, 'version', 'must have 1 to 255 characters'],
  ['a description with NUL', { change: { description: '\0' } }, 'change.description', 'must not hold NUL'],
  [
    'a version without patterns',
    { version: 'v${{ event.a }}' },
    'versions',
    'must be given where version or name is a template',
  ],
  [
    'a name without patterns',
    { change: { name: '${{ event.a }}' } },
    'versions',
    'must be given where version or name is a template',
  ],
  [
    'a version with no patterns',
    { version: '${{ event.a }}', versions: [] },
    'versions',
    'must be given where version or name is a template',
  ],
  [
    'a version by a number',
    { version: '${{ 1 }}', versions: ['*'] },
    'version',
    'must yield string, not int',
  ],
  [
    'a name by a list',
    { change: { name: '${{ [event.a] }}' }, versions: ['*'] },
    'change.name',
    'must yield string, not list',
  ],
  [
    'a list in text',
    { change: { description: 'a ${{ event.s.split(",") }}' } },
    'change.description',
    'must yield string, not list<string>',
  ],
  [
    'null in text',
    { change: { description: 'a ${{ null }}' } },
    'change.description',
    'must yield string, not null',
  ],
  ['a condition that is no bool', { when: "'true'" }, 'when', 'must yield bool, not string'],
  ['an empty condition', { when: '' }, 'when', /^is not an expression: /],
  [
    'a condition as a template',
    { when: '${{ true }}' },
    'when',
    'is not an expression: Unexpected character: $',
  ],
  ['half a condition', { when: 'event.a ==' }, 'when', 'is not an expression: Unexpected token: EOF'],
  [
    'types that do not fit',
    { when: "1 + 'a' == 2" },
    'when',
    'is not acceptable: no such overload: int + string',
  ],
  [
    'an open expression',
    { change: { description: 'a ${{ event.a' } },
    'change.description',
    'holds ${{ without }}',
  ],
  [
    'an empty expression',
    { change: { description: '${{ }}' } },
    'change.description',
    /^an empty expression is not an expression/,
  ],
  [
    'a long expression',
    { when: `true || '${'a'.repeat(2048)}' == ''` },
    'when',
    'must have at most 2048 characters',
  ],
  [
    'a long template',
    { change: { description: 'a'.repeat(8193) } },
    'change.description',
    'must have at most 8192 characters',
  ],
  [
    'many expressions',
    { change: { description: '${{ 1 }}'.repeat(17) } },
    'change.description',
    'must hold at most 16 expressions',
  ],
  [
    'a large expression',
    { when: Array(100).fill('event.a').join(' && ') },
    'when',
    'is not an expression: Exceeded maxAstNodes (256)',
  ],
  [
    'a deep expression',
    { when: `${'('.repeat(40)}true${')'.repeat(40)}` },
    'when',
    'is not an expression: Exceeded maxDepth (32)',
  ],
]
test.each(saved)('a hook with %s is not saved', (_, change, field, message) => {
  expect(mappingErrors({ ...base, ...change })).toEqual([
    { field, message: typeof message === 'string' ? message : expect.stringMatching(message) },
  ])
  // Nor is it applied, should it have been saved by other rules.
  expect(map({ ...base, ...change }, { a: true })).toMatchObject({ kind: 'failed', problem: { field } })
})

test('all that is wrong is named at once', () => {
  const mapping = { version: '${{ a }}', when: 'b', change: { id: 'x', name: null, isLatest: '' } }
  expect(mappingErrors(mapping).map(({ field }) => field)).toEqual([
    'when',
    'version',
    'change.id',
    'change.name',
    'change.isLatest',
    'versions',
  ])
})

const refused: [expression: string, message: string][] = [
  ["event.s.matches('(a+)+b')", 'may not use matches()'],
  ['cel.bind(a, event.s + event.s, a + a) == event.s', 'may not use bind()'],
  ["timestamp(event.s) > timestamp('2026-01-01T00:00:00Z')", 'may not use timestamp()'],
  ["duration(event.s) > duration('1s')", 'may not use duration()'],
  ['event.t.getHours() > 1', 'may not use getHours()'],
  ["event.t.getHours('Europe/London') > 1", 'may not use getHours()'],
  ['bytes(event.s) == event.b', 'may not use bytes()'],
  ['event.s.json() == event.b', 'may not use json()'],
  ['dyn(event.s) == event.b', 'may not use dyn()'],
  ['type(event.s) == string', 'may not use type()'],
  ['uint(event.s) == event.b', 'may not use uint()'],
  ['event.s.orValue(1) == 1', 'may not use orValue()'],
  ['google.protobuf == event.a', 'may read only event and headers, not google'],
  ['string == event.a', 'may read only event and headers, not string'],
  // Quadratic: for each element, something that is as large as the event.
  ['event.l.all(x, event.l.all(y, x == y))', 'may not use all() within all()'],
  ['event.l.all(x, x.l.exists(y, y))', 'may not use exists() within all()'],
  ['event.l.exists(x, x in event.l)', 'may read only x in the body of exists(), not event'],
  ['event.l.exists(x, x == event.s)', 'may read only x in the body of exists(), not event'],
  ["event.l.all(x, x == headers['a'])", 'may read only x in the body of all(), not headers'],
  ['event.l.map(x, event.s + event.s) == []', 'may read only x in the body of map(), not event'],
  ['event.l.map(event, event) == []', 'may not call an element event'],
  // Exponential: each makes what it is given larger.
  ['event.l.map(x, [x, x]).map(x, [x, x]) == []', 'may not use map() within map()'],
  ['event.l.filter(x, x.a).exists_one(x, x.b)', 'may not use filter() within exists_one()'],
  ['size([event.l.map(x, x)].map(y, y)) == 1', 'may not use map() within map()'],
  [`event.s == ${Array(12).fill('event.s').join(' + ')}`, 'may not combine so many values by +, [ ] and { }'],
  [`event.s in [${Array(12).fill('event.s')}]`, 'may not combine so many values by +, [ ] and { }'],
  [
    `event.s in {${Array.from({ length: 12 }, (_, i) => `'${i}': event.s`)}}`,
    'may not combine so many values by +, [ ] and { }',
  ],
  // Text × text: a search for, or a joint of, a text that the event brings.
  ['event.s.contains(event.s)', 'may use contains() only with a literal text of 1 to 100 characters'],
  ['event.s.indexOf(event.s) == 1', 'may use indexOf() only with a literal text of 1 to 100 characters'],
  [
    'event.s.lastIndexOf(event.s) == 1',
    'may use lastIndexOf() only with a literal text of 1 to 100 characters',
  ],
  ['event.s.split(event.s) == []', 'may use split() only with a literal text of 1 to 100 characters'],
  ["event.s.split('') == []", 'may use split() only with a literal text of 1 to 100 characters'],
  ["event.l.join(event.s) == ''", 'may use join() only with a literal text of 1 to 16 characters'],
  [
    `event.s.split('a').join('${'a'.repeat(17)}') == ''`,
    'may use join() only with a literal text of 1 to 16 characters',
  ],
  ["event.s.split('a').join('aa').split('a').join('aa') == ''", 'may not use join() within join()'],
  ["event.l.map(x, x.split('a').join('aa')).join('aa') == ''", 'may not use join() within join()'],
  [
    `event.s.contains('${'a'.repeat(101)}')`,
    'may use contains() only with a literal text of 1 to 100 characters',
  ],
  ["event.s.split('a').join('bbbbbbbbbbbbbbbb').split('b') == []", 'may not use join() within split()'],
  // Once for each element: a thousand pieces, or as many characters, of what the expression holds.
  ...[
    `'${'a'.repeat(100)}'`,
    `(x + '${'a'.repeat(50)}' + '${'a'.repeat(50)}')`,
    `(x == 1 ? 'a,a' : 'a')`,
    `['aaa', x][0]`,
    `'a,a'.trim()`,
  ].map((text): [string, string] => [
    `event.l.map(x, ${text}.split('a')) == []`,
    'may use split() in the body of map() only on what the element brings',
  ]),
  [
    "event.l.map(x, [x, x].join('aaaaaaaaaaaaaaaa')) == []",
    'may use join() in the body of map() only on what the element brings',
  ],
  ...[
    `'${'a'.repeat(101)}'`,
    `x + ${Array(3)
      .fill(`'${'a'.repeat(90)}'`)
      .join(' + ')}`,
    `[x, ${Array(33).fill(1)}]`,
  ].map((body): [string, string] => [
    `event.l.map(x, ${body}) == []`,
    'may hold only 32 literals and 256 characters of text, 100 in one, in the body of map()',
  ]),
]
test.each(refused)('%s is refused', (when, message) => {
  expect(mappingErrors({ ...base, when })).toEqual([{ field: 'when', message }])
  // Wherever it stands, and in a template too.
  expect(mappingErrors({ ...base, when: `true ? (true && (${when})) : false` })).toEqual([
    { field: 'when', message },
  ])
  expect(mappingErrors({ ...base, change: { isDefault: `\${{ ${when} }}` } })).toMatchObject([
    { field: 'change.isDefault', message: expect.stringContaining(message) },
  ])
})

test('of all that the library can call, only what is meant to be is allowed', () => {
  const allowed = new Environment().getDefinitions().functions.filter(({ name, receiverType, params }) => {
    const values = params.map(({ type }) => (type === 'string' ? "'a'" : 'event.a'))
    // The arguments of a macro are pieces of an expression.
    const args = params.every(({ type }) => type === 'ast')
      ? ['x', 'x.a', 'x.b'].slice(0, params.length)
      : values
    if (name === 'has') args[0] = 'event.a'
    const call = `${receiverType ? 'event.r.' : ''}${name}(${args})`
    return mappingErrors({ ...base, when: `[${call}].size() == 1` }).length === 0
  })
  expect([...new Set(allowed.map(({ name }) => name))].sort()).toEqual([
    ...[
      'all',
      'bool',
      'contains',
      'double',
      'endsWith',
      'exists',
      'exists_one',
      'filter',
      'has',
      'indexOf',
      'int',
    ],
    ...[
      'join',
      'lastIndexOf',
      'lowerAscii',
      'map',
      'size',
      'split',
      'startsWith',
      'string',
      'substring',
      'trim',
    ],
    'upperAscii',
  ])
})

const event = {
  n: 5,
  f: 1.5,
  big: 2 ** 60,
  zero: -0,
  s: 'abc',
  empty: '',
  t: true,
  z: null,
  l: [1, 2, 3],
  ll: [[1], [2]],
  o: { a: 1, b: { c: 'd' } },
  os: [
    { name: 'a', on: true },
    { name: 'b', on: false },
  ],
  ref: 'refs/tags/v1.2.3',
}
const yields: [expression: string, yielded: unknown][] = [
  ['event.n == 5', true],
  ['event.n == 5.0', true],
  ['event.n != 6', true],
  ['event.n > 4 && event.n <= 5.5', true],
  ["event.n == '5'", false],
  ["string(event.n) == '5'", true],
  ["string(event.f) == '1.5'", true],
  ['int(event.n) + 1 == 6', true],
  ['event.n + 1.0 == 6.0', true],
  ['event.n in [4, 5]', true],
  ['event.l == [1, 2, 3]', true],
  ['event.l == [1, 2]', false],
  ['event.ll == [[1], [2]]', true],
  ['2 in event.l', true],
  ['event.l[2] == 3', true],
  ['event.l.size() == 3 && size(event.l) == 3', true],
  ['event.o.size() == 2 && size(event.o) == 2', true],
  ["'a' in event.o && !('x' in event.o)", true],
  ["event.o['b'].c == 'd'", true],
  ['has(event.o.b.c) && !has(event.o.x) && !has(event.x)', true],
  ['event.z == null && event.o != null && event.s != null', true],
  ['has(event.z)', true],
  ["event.os.exists(x, x.name == 'b')", true],
  ['event.os.all(x, x.on)', false],
  ['event.os.exists_one(x, x.on)', true],
  ['event.os.filter(x, has(x.name) && x.on).size() == 1', true],
  ["event.os.map(x, x.name).join(', ') == 'a, b'", true],
  ["event.os.map(x, x.on, x.name) == ['a']", true],
  ["event.s in event.os.map(x, x.name + 'bc')", true],
  ["event.os.exists(x, 'b' in string(x.name).trim().split(','))", true],
  ["event.os.map(x, x['name'].split(',').join('-')).size() == 2", true],
  ["event.o.exists(key, key == 'a')", true],
  ["event.ref.split('/')[2] == 'v1.2.3'", true],
  ["event.ref.startsWith('refs/tags/v') && event.ref.endsWith('.3')", true],
  ["event.s.contains('b') && event.s.indexOf('c') == 2 && event.s.lastIndexOf('a') == 0", true],
  ["event.s.substring(1) == 'bc' && event.s.substring(0, 1) == 'a'", true],
  ["event.s.upperAscii().lowerAscii() == event.s && ' a '.trim() == 'a'", true],
  ["{'abc': true, 'd': false}[event.s]", true],
  ["headers['x-a'] == 'one' && 'x-a' in headers && !('x-b' in headers)", true],
  ['event.t || event.missing', true],
  ['event.missing || event.t', true],
  ['!event.t && event.missing', false],
]
test.each(yields)('%s is %s', (expression, yielded) => {
  expect(holds(expression, event, { 'x-a': 'one' })).toBe(yielded)
})

const fails: [expression: string, message: string][] = [
  ['event.release.tag == 1', 'No such key: release'],
  ["event['missing'] == 1", 'No such key: missing'],
  ['event[event.s] == 1', 'No such key'],
  ['headers[event.s] == event.s', 'No such key'],
  ["{'x': true}[event.s]", 'No such key'],
  ['has(event.x.y)', 'No such key: x'],
  ["event[['s']] == 'abc'", 'No such key'],
  ['event.o[1] == 1', 'No such key'],
  ['event.l[9] == 1', 'No such key: index out of bounds'],
  ['event.s.length == 3', 'No such key: length'],
  ['event.l.length == 3', 'No such key: length'],
  ['event.n + 1 == 6', 'no such overload: double + int'],
  ['event.s < 1', 'no such overload: string < int'],
  ['event.n && true', "Logical operator requires bool operands, got 'double'"],
  ['event.s ? true : false', "Ternary condition must be bool, got 'string'"],
  ["event.n.startsWith('a')", "found no matching overload for 'double.startsWith(string)'"],
  ['1 / (int(event.n) - 5) == 1', 'division by zero'],
  ['int(event.s) == 1', 'int() type error: cannot convert to int'],
  ['bool(event.s)', 'bool() type error: cannot convert to bool'],
  ['int(1e300 * event.f) + 1 == 1', 'integer overflow'],
  ['event.o == event.o', 'Objects are not compared, only their fields'],
  // The type of an object is not spelt out, however deep it is.
  ['event.o + 1 == 1', 'no such overload: object + int'],
  ['event.os + 1 == 1', 'no such overload: list<object> + int'],
  ["event.o == {'a': 1}", 'Objects are not compared, only their fields'],
  ["{'a': 1} != event.o", 'Objects are not compared, only their fields'],
  ['event.o in event.os', 'Objects are not compared, only their fields'],
  ['event.os.all(x, x.missing)', 'No such key: missing'],
]
test.each(fails)('%s fails in words', (when, message) => {
  expect(holds(when, event)).toBe(`${message}, in ${when}`)
})

test('a condition that yields no boolean fails', () => {
  expect(holds('event.s', event)).toBe('must yield true or false')
  expect(holds('event.z', event)).toBe('must yield true or false')
})

test.each([
  'constructor',
  '__proto__',
  'hasOwnProperty',
  'toString',
  'valueOf',
  'size',
  'get',
  'then',
  'length',
])('a member named %s is data like any other', key => {
  const inside = JSON.parse(`{"${key}":{"${key}":"data"}}`)
  expect(described(`\${{ event['${key}']['${key}'] }}`, inside)).toBe('data')
  expect(holds(`event['${key}'] == null`, {})).toBe(`No such key: ${key}, in event['${key}'] == null`)
  expect(holds(`'${key}' in event`, {})).toBe(false)
  expect(holds(`'${key}' in event && size(event) == 1`, inside)).toBe(true)
  const each = JSON.parse(`[{"${key}":true}]`)
  expect(holds(`event.all(x, x['${key}'] && '${key}' in x)`, each)).toBe(true)
  expect(holds(`'${key}' in headers`, {})).toBe(false)
})

const texts: [template: string, yielded: unknown][] = [
  ['plain', 'plain'],
  ['', ''],
  ['}} $ { ${ {{ }}', '}} $ { ${ {{ }}'],
  ['${{ event.s }}', 'abc'],
  ['${{event.s}}', 'abc'],
  [' ${{ event.s }} ', ' abc '],
  ['${{ event.s }}${{ event.s }}', 'abcabc'],
  [
    'a ${{ event.n }} b ${{ event.f }} c ${{ event.t }} d ${{ int(event.n) }} e ${{ event.zero }}',
    'a 5 b 1.5 c true d 5 e 0',
  ],
  ['${{ event.z }}', null],
  ["${{ '${{' }} and ${{ '}}' }}", '${{ and }}'],
  ["${{ '${{ event.s }}' }}", '${{ event.s }}'],
  ["${{ 'a }} b' + \"}}\" + '''}}''' + r'}}' }}!", 'a }} b}}}}}}!'],
  ["${{ 'it\\'s }}' }}", "it's }}"],
  ["${{ {'a': {'b': event.s}}['a']['b'] }}", 'abc'],
  ["${{ {'a': {'b': 'c'}}['a'].map(k, k).join(',')}}", 'b'],
  ["x${{ size({'a': {'b': 1}})}}", 'x1'],
  ["${{ [{'a': event.s}][0].a }}}}", 'abc}}'],
  ['$${{ event.s }}', '$abc'],
  ['${{ event.s // }}', 'abc'],
  ['${{\n  event.s\n}}', 'abc'],
  ['${{ event.z == null ? "none" : event.z }}', 'none'],
]
test.each(texts)('the template %j becomes %j', (template, yielded) => {
  expect(described(template, event)).toEqual(yielded)
})

test.each([
  ['a ${{ event.z }}', 'must yield a text, a number or a boolean: event.z'],
  ['a ${{ event.l }}', 'must yield a text, a number or a boolean: event.l'],
  ['a ${{ event.o }}', 'must yield a text, a number or a boolean: event.o'],
  ['a ${{ event.big }}', 'must yield a number with a plain decimal form: event.big'],
  ['a ${{ event.n / 0.0 }}', 'must yield a number with a plain decimal form: event.n / 0.0'],
  ['a ${{ event.f / 1e9 }}', 'must yield a number with a plain decimal form: event.f / 1e9'],
  ['${{ event.n }}', 'must be of type string'],
  ['${{ event.t }}', 'must be of type string'],
  ['${{ event.l }}', 'must be of type string'],
  ['${{ event.o }}', 'must be of type string'],
  ['a ${{ event.x.y }}', 'No such key: x, in event.x.y'],
])('the template %j fails', (template, message) => {
  expect(described(template, event)).toEqual({ field: 'change.description', message })
})

test('what of several expressions is wrong is said of the one that it is', () => {
  expect(mappingErrors(templated('${{ event.a }} ${{ event. }} ${{ event.b }}'))).toEqual([
    { field: 'change.description', message: 'event. is not an expression: Expected IDENTIFIER, got EOF' },
  ])
  expect(mappingErrors(templated("${{ event.a.matches('}}') }} ${{ event.b }}"))).toEqual([
    { field: 'change.description', message: "event.a.matches('}}') may not use matches()" },
  ])
})

const checked: [what: string, mapping: Partial<Mapping>, event: unknown, expected: Mapped][] = [
  [
    'a version that matches',
    { version: 'v${{ event.v }}', versions: ['x', 'v1.*'] },
    { v: '1.2' },
    { kind: 'change', version: 'v1.2', patch: '{"isDefault":true}' },
  ],
  [
    'a version that matches none',
    { version: '${{ event.v }}', versions: ['v1.*'] },
    { v: '2' },
    failure('version', 'matches none of versions'),
  ],
  [
    'a moving version',
    { version: '${{ event.v }}', versions: ['l*', 'd*'] },
    { v: 'latest' },
    failure('version', 'matches none of versions'),
  ],
  [
    'a version with a slash',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: 'a/../b' },
    failure('version', 'must not hold any of / \\ % ? # ;'),
  ],
  [
    'a dot segment',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: '..' },
    failure('version', 'must not be a dot segment'),
  ],
  [
    'an empty version',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: '' },
    failure('version', 'must have 1 to 255 characters'),
  ],
  [
    'a version that is a number',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: 1 },
    failure('version', 'must be of type string'),
  ],
  [
    'a version that is null',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: null },
    failure('version', 'must be of type string'),
  ],
  [
    'a version with a lone surrogate',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: '\ud800' },
    failure('version', 'must not hold a lone surrogate'),
  ],
  [
    'a long version',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: 'a'.repeat(256) },
    failure('version', 'must have 1 to 255 characters'),
  ],
  [
    'a version with a token',
    { version: '${{ event.v }}', versions: ['*'] },
    { v: token },
    failure('version', 'must not hold a token of the gateway'),
  ],
  [
    'a fixed version outside the patterns',
    { version: '2.0', versions: ['1.*'] },
    {},
    failure('version', 'matches none of versions'),
  ],
  [
    'a name that matches',
    { change: { name: '${{ event.v }}' }, versions: ['1.*'] },
    { v: '1.5' },
    { kind: 'change', version: '1.4.0', patch: '{"name":"1.5"}' },
  ],
  [
    'a name that matches none',
    { change: { name: '${{ event.v }}' }, versions: ['1.*'] },
    { v: '2' },
    failure('change.name', 'matches none of versions'),
  ],
  [
    'a reserved name',
    { change: { name: '${{ event.v }}' }, versions: ['*'] },
    { v: 'default' },
    failure('change.name', 'must not be default or latest, which are reserved'),
  ],
  [
    'a name that is null',
    { change: { name: '${{ event.v }}' }, versions: ['*'] },
    { v: null },
    failure('change.name', 'must be of type string'),
  ],
  [
    'a description with a token',
    { change: { description: 'a ${{ event.v }}' } },
    { v: token },
    failure('change', 'must not hold a token of the gateway'),
  ],
  [
    'a description with NUL',
    { change: { description: '${{ event.v }}' } },
    { v: '\0' },
    failure('change.description', 'must not hold NUL'),
  ],
  [
    'a description with half a pair',
    { change: { description: '${{ event.v.substring(0, 1) }}' } },
    { v: '😀' },
    failure('change.description', 'must not hold a lone surrogate'),
  ],
  [
    'two halves of a pair',
    { change: { description: '${{ event.v.substring(0, 1) }}${{ event.v.substring(1) }}' } },
    { v: '😀' },
    { kind: 'change', version: '1.4.0', patch: '{"description":"😀"}' },
  ],
  [
    'a long description',
    { change: { description: '${{ event.v }}' } },
    { v: 'a'.repeat(65_537) },
    failure('change.description', 'must have at most 65536 characters'),
  ],
  [
    'a long text',
    { change: { description: 'a${{ event.v }}' } },
    { v: 'a'.repeat(65_536) },
    failure('change.description', 'must have at most 65536 characters'),
  ],
  [
    'a large patch',
    { change: { description: '${{ event.v }}' } },
    { v: 'ä'.repeat(40_000) },
    failure('change', 'must become at most 65536 bytes of JSON'),
  ],
  [
    'no description',
    { change: { description: null } },
    {},
    { kind: 'change', version: '1.4.0', patch: '{"description":null}' },
  ],
  [
    'a boolean by the event',
    { change: { isLatest: '${{ event.v }}', isDefault: false } },
    { v: true },
    { kind: 'change', version: '1.4.0', patch: '{"isLatest":true,"isDefault":false}' },
  ],
  [
    'a boolean that is text',
    { change: { isLatest: '${{ event.v }}' } },
    { v: 'true' },
    failure('change.isLatest', 'must be of type boolean'),
  ],
  [
    'a boolean that is null',
    { change: { isLatest: '${{ event.v }}' } },
    { v: null },
    failure('change.isLatest', 'must be of type boolean'),
  ],
  [
    'a boolean that is missing',
    { change: { isLatest: '${{ event.v }}' } },
    {},
    failure('change.isLatest', 'No such key: v, in event.v'),
  ],
]
test.each(checked)('%s', (_, mapping, value, expected) => {
  expect(mappingErrors({ ...base, ...mapping })).toEqual([])
  expect(map({ ...base, ...mapping }, value)).toEqual(expected)
})

function failure(field: string, message: string): Mapped {
  return { kind: 'failed', problem: { field, message } }
}

const bytes = (text: string) => Buffer.from(text)
const nested = (open: string, inner: string, close: string, times: number) =>
  bytes(`${open.repeat(times)}${inner}${close.repeat(times)}`)
const invalidBody = (message: string) => ({
  ok: false,
  refusal: { code: 'invalid-body', fields: [{ field: 'body', message }] },
})
const malformed = {
  ok: false,
  refusal: {
    code: 'malformed-json',
    detail: 'The body is not one JSON document in UTF-8 without a byte order mark.',
  },
}
test.each<[string, Uint8Array, unknown]>([
  ['an object', bytes('{"a":[1,"x",null,true]}'), { ok: true, value: { a: [1, 'x', null, true] } }],
  ['a plain value', bytes(' 5 '), { ok: true, value: 5 }],
  [
    'brackets and commas in strings',
    bytes(JSON.stringify('[{,"\\'.repeat(60_000))),
    { ok: true, value: expect.any(String) },
  ],
  ['64 levels', nested('{"a":[', '1', ']}', 32), { ok: true, value: expect.anything() }],
  ['65 levels', nested('{"a":', '1', '}', 65), invalidBody('must be at most 64 levels deep')],
  [
    '65 levels that are never closed',
    nested('{"a":', '', '', 65),
    invalidBody('must be at most 64 levels deep'),
  ],
  ['8 lists in lists', nested('[', '1', ']', 8), { ok: true, value: expect.anything() }],
  ['9 lists in lists', nested('[', '1', ']', 9), invalidBody('must hold at most 8 lists directly in lists')],
  [
    'a million levels',
    nested('[', '', ']', 500_000),
    invalidBody('must hold at most 8 lists directly in lists'),
  ],
  ['100,000 values', bytes(JSON.stringify(Array(99_999).fill(1))), { ok: true, value: expect.anything() }],
  [
    '100,001 values',
    bytes(JSON.stringify(Array(100_000).fill(1))),
    invalidBody('must hold at most 100000 values'),
  ],
  ['nothing', bytes(''), malformed],
  ['two documents', bytes('{}{}'), malformed],
  ['half a document', bytes('{"a":'), malformed],
  ['half a string', bytes('"a\\'), malformed],
  ['a byte order mark', bytes('\ufeff{}'), malformed],
  ['Latin-1', Uint8Array.of(0x22, 0xe4, 0x22), malformed],
  ['UTF-16', Buffer.from('{}', 'utf16le'), malformed],
])('an event that is %s', (_, body, expected) => {
  expect(parseEvent(body)).toEqual(expected)
})

const anything = fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true })
const json = fc.jsonValue({ maxDepth: 4 })
const key = fc.constantFrom('a', 'b', 's', 'constructor', '__proto__', 'toString')
const eventLike = fc.oneof(json, fc.dictionary(key, json), fc.array(fc.dictionary(key, json)), anything)
const expressions = [
  ...yields.map(([expression]) => expression),
  ...fails.map(([expression]) => expression),
  ...['a', 'b', 's', 'constructor', 'toString'].flatMap(name => [
    `event.${name} == event.a`,
    `event.${name} == [event.b]`,
    `event.${name} in event.a`,
    `event.all(x, x.${name} == x.a && x.a in x.b)`,
    `event.map(x, x.${name}).size() > 0`,
    `event.${name} > event.b || size(event.${name}) == 1`,
    `string(event.${name}).contains('a') && -event.a < event.b`,
  ]),
]

test('no event makes it throw, and no failure quotes the event', () => {
  fc.assert(
    fc.property(eventLike, fc.constantFrom(...expressions), (value, expression) => {
      const text = `a \${{ ${expression} }}`
      const mapping = {
        ...base,
        when: expression,
        versions: ['*'],
        version: text,
        change: { description: text },
      }
      const { when: _, ...always } = mapping
      for (const each of [mapping, always]) {
        const mapped = mapEvent(each, value, { 'x-a': 'one' }, matchesVersion, forbidden)
        expect(['change', 'ignored', 'failed']).toContain(mapped.kind)
      }
    }),
    { numRuns: 500 },
  )
})

test('the words of a failure are the same whatever the values are', () => {
  const secret = fc.stringMatching(/^[g-z]{12}$/)
  fc.assert(
    fc.property(secret, fc.integer({ min: 1e9, max: 2e9 }), (value, number) => {
      const secrets = {
        s: value,
        n: number,
        f: number + 0.5,
        o: { [value]: value },
        l: [value],
        os: [{ [value]: 1 }],
      }
      for (const [when] of [...fails, ...yields]) {
        const mapped = map({ ...base, when }, secrets, { h: value })
        if (mapped.kind !== 'failed') continue
        expect(mapped.problem.message).not.toContain(value)
        expect(mapped.problem.message).not.toContain(String(number))
      }
    }),
    { numRuns: 20 },
  )
})

test('a text without an expression is itself', () => {
  const plain = fc.string({ unit: 'grapheme' }).filter(text => !text.includes('${{') && !text.includes('\0'))
  fc.assert(
    fc.property(plain, text => {
      expect(described(text)).toBe(text)
    }),
  )
})

test('what an expression yields is never read as a template', () => {
  const part = fc.constantFrom('${{ event.s }}', '${{', '}}', '$', '{', 'a', ' ', "'", '${{ event.x }}')
  fc.assert(
    fc.property(fc.array(part), parts => {
      const text = parts.join('')
      expect(described('${{ event.s }}', { s: text })).toBe(text)
      expect(described('<${{ event.s }}|${{ event.s }}>', { s: text })).toBe(`<${text}|${text}>`)
      expect(described(`\${{ ${JSON.stringify(text)} }}`, {})).toBe(text)
    }),
  )
})

/** Counts what is read of an event, and how often. */
function counted(value: unknown, count: () => void): unknown {
  if (typeof value !== 'object' || value === null) return value
  const copy = Array.isArray(value) ? value.map(each => counted(each, count)) : value
  return new Proxy(copy, {
    get(target, name) {
      count()
      const member = Reflect.get(target, name)
      return Array.isArray(value) ? member : counted(member, count)
    },
  })
}

test.each(yields.map(([expression]) => expression).filter(text => /event\.os\b/.test(text)))(
  '%s reads an event of twice the size twice as often at most',
  when => {
    const reads = (size: number) => {
      let count = 0
      const os = Array.from({ length: size }, (_, i) => ({ name: `n${i}`, on: false }))
      mapEvent(
        { ...base, when },
        counted({ ...event, os }, () => count++),
        {},
        matchesVersion,
        forbidden,
      )
      return count
    }
    expect(reads(400)).toBeGreaterThan(400)
    expect(reads(800)).toBeLessThanOrEqual(2 * reads(400))
  },
)
