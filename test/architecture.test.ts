/**
 * Checks how the source is cut: which file may import which, where secrets, clocks and the network are touched, and what
 * a file may be called. The checker is a function over texts, so it is shown wrong examples of every rule as well.
 */
import { globSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'

interface File {
  path: string
  text: string
}
interface Import {
  /** A path such as `src/errors.ts`, or a package's name. */
  to: string
  typeOnly: boolean
}

/** What each part may import besides its own files. `base` is what stands on nothing. */
const arrows: Record<string, readonly string[]> = {
  index: ['app', 'routes', 'organisation'],
  app: ['routes'],
  routes: ['auth', 'update', 'organisation', 'upstream', 'base'],
  organisation: ['auth', 'update', 'upstream', 'base'],
  upstream: ['base'],
  auth: ['base'],
  update: ['base'],
  base: [],
  // Stands on nothing, so that it shares no mistake with what it verifies.
  verify: [],
}
const base = ['src/body.ts', 'src/crypto.ts', 'src/errors.ts', 'src/env.ts']
const organisation = 'src/organisation/organisation.ts'
const forward = 'src/upstream/forward.ts'
/** What calls the receiver of alerts: the object, and the edge where the object's log takes no record. */
const post = 'src/upstream/post.ts'
const posting = [organisation, 'src/routes/answer.ts']
const tables = 'src/organisation/tables.ts'
const generator = 'src/routes/openapi.ts'
/** Where the clock, the network and the bindings may be touched; every other file of src/ is a rule. */
const shells = [
  'src/index.ts',
  'src/app.ts',
  'src/env.ts',
  organisation,
  'src/organisation/directory.ts',
  forward,
]
const revealing = ['sealing.ts', 'session-store.ts', 'hook-store.ts', 'courier.ts'].map(
  name => `src/organisation/${name}`,
)
revealing.push('src/upstream/headers.ts', 'src/auth/webhook-signature.ts', post)
/** tables.ts holds all SQL, and nothing else. */
const maxLines = 380

/** Everything that is wrong with a set of files, as `path: what`. */
function complaints(files: readonly File[]): string[] {
  const each = files.flatMap(file => [
    ...named(file),
    ...(file.path.startsWith('src/') ? [...drawn(file), ...touched(file)] : []),
    ...(file.path.startsWith('test/platform/') ? apart(file) : []),
  ])
  return [...each, ...cycles(files)]
}

function named({ path, text }: File): string[] {
  const found: string[] = []
  const name = posix.basename(path).replace(/\.tsx?$/, '')
  if (/^(utils?|helpers?|types?|common)$/.test(name)) found.push('is named after no noun of its own')
  if (!/^(\/\*\*|\/\/) ?\S/.test(text) && !/^\/\*\*\n \* \S/.test(text))
    found.push('starts without a comment')
  if (path.startsWith('src/')) {
    if (name === 'index' && path !== 'src/index.ts') found.push('is a barrel')
    const code = withoutComments(text)
    const rest = code.replace(imports, '').trim()
    if (/^export\b/m.test(code) && rest === '') found.push('only re-exports')
    if (text.split('\n').length - 1 > maxLines) found.push(`has more than ${maxLines} lines`)
  }
  return found.map(what => `${path}: ${what}`)
}

function drawn({ path, text }: File): string[] {
  const part = partOf(path)
  return importsOf(path, text).flatMap(({ to, typeOnly }) => {
    const found: string[] = []
    if (to === 'hono' || to.startsWith('hono/') || to.startsWith('@hono/')) {
      if (part !== 'routes' && part !== 'app') found.push('imports hono')
    } else if (to === 'node:crypto' || to === 'crypto') {
      if (path !== 'src/crypto.ts' && part !== 'verify') found.push(`imports ${to}`)
    } else if (to.startsWith('src/')) {
      const target = partOf(to)
      if (target !== part && !arrows[part]?.includes(target)) found.push(`imports ${to}, an arrow not drawn`)
      if (to === forward && path !== organisation) found.push(`imports ${to}, the object's alone`)
      if (to === post && !typeOnly && !posting.includes(path)) found.push(`imports ${to}, which sends`)
      if (to === generator) found.push(`imports ${to}, which the Worker has no use for`)
      if (part === 'routes' && to === tables) found.push(`imports ${to}, the object's alone`)
      if (part === 'routes' && to === organisation && !typeOnly) found.push(`imports ${to} as a value`)
    } else if (to.startsWith('test/')) {
      found.push(`imports ${to}`)
    } else if (part === 'verify' && !to.startsWith('node:')) {
      found.push(`imports ${to}, and must run on Node alone`)
    }
    return found.map(what => `${path}: ${what}`)
  })
}

function touched({ path, text }: File): string[] {
  const code = withoutComments(text)
  const found: string[] = []
  if (path !== 'src/crypto.ts' && /\bcrypto\.(subtle|randomUUID|getRandomValues)\b/.test(code)) {
    found.push('uses WebCrypto')
  }
  if (/\.reveal\(/.test(code) && !revealing.includes(path)) found.push('reveals a secret')
  if (!path.startsWith('src/routes/') && !shells.includes(path)) {
    for (const [match] of code.matchAll(
      /\b(fetch|setTimeout|setInterval|Date\.now)\(|\bnew Date(\(\)|\b(?!\())|\bMath\.random\b/g,
    )) {
      found.push(`is a rule, and has ${match}`)
    }
  }
  return found.map(what => `${path}: ${what}`)
}

function apart({ path, text }: File): string[] {
  return importsOf(path, text)
    .filter(({ to }) => to.startsWith('src/'))
    .map(({ to }) => `${path}: imports ${to}, and must stand without it`)
}

/** Imports of types alone are left out: they are gone before anything runs, so they cannot run in a circle. */
function cycles(files: readonly File[]): string[] {
  const graph = new Map(
    files.map(({ path, text }) => [
      path,
      importsOf(path, text).flatMap(({ to, typeOnly }) => (typeOnly ? [] : [to])),
    ]),
  )
  const done = new Set<string>()
  const found: string[] = []
  const visit = (path: string, above: readonly string[]) => {
    if (above.includes(path)) {
      found.push(`${path}: imports itself by way of ${above.slice(above.indexOf(path) + 1).join(', ')}`)
    } else if (!done.has(path)) {
      for (const to of graph.get(path) ?? []) visit(to, [...above, path])
      done.add(path)
    }
  }
  for (const path of graph.keys()) visit(path, [])
  return found
}

function partOf(path: string): string {
  if (base.includes(path)) return 'base'
  const [, folder = '', file] = path.split('/')
  return file === undefined ? folder.replace(/\.tsx?$/, '') : folder
}

/** Every `import` and `export … from`: what is imported, in one clause, then from where. */
const imports =
  /^(?:import|export)\b( type\b)?\s*(?:(?:\w+,\s*)?(?:\{[^}]*\}|\*(?: as \w+)?|\w+)\s*from\s*)?['"]([^'"]+)['"](?: with \{.*\})?;?$/gm
/** `import(…)` of a literal is an import by another spelling. */
const calls = /\b(import)\(['"]([^'"]+)['"](?:, \{[^)]*)?\)/g

function importsOf(path: string, text: string): Import[] {
  const code = withoutComments(text)
  return [...code.matchAll(imports), ...code.matchAll(calls)].map(([, type, from = '']) => ({
    to: from.startsWith('.') ? posix.join(posix.dirname(path), from) : from,
    typeOnly: type === ' type',
  }))
}

/** Comments as the formatter leaves them: on lines of their own, or behind a space to the end of the line. */
function withoutComments(text: string): string {
  return text.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/(^|\s)\/\/ .*$/gm, '')
}

const root = join(import.meta.dirname, '..')
const files = globSync(['src/**/*.{ts,tsx}', 'test/**/*.{ts,tsx}'], { cwd: root }).map(path => ({
  path: path.replaceAll('\\', '/'),
  text: readFileSync(join(root, path), 'utf8'),
}))

test('the checker has found the source, and reads its imports', () => {
  const known = Object.fromEntries(files.map(({ path, text }) => [path, text]))
  expect(importsOf(organisation, known[organisation] ?? '')).toEqual(
    expect.arrayContaining([
      { to: forward, typeOnly: false },
      { to: 'src/organisation/messages.ts', typeOnly: true },
      { to: 'cloudflare:workers', typeOnly: false },
    ]),
  )
  expect(importsOf('src/index.ts', known['src/index.ts'] ?? '').map(({ to }) => to)).toContain(organisation)
})

test('nothing is wrong', () => {
  expect(complaints(files)).toEqual([])
})

/** A file with one line of code under a comment. */
function file(path: string, ...lines: string[]): File {
  return { path, text: `/** Owns an example. */\n${lines.join('\n')}\n` }
}

const notDrawn: [string, string][] = [
  ['src/crypto.ts', './auth/token.ts'],
  ['src/errors.ts', './update/connection-version.ts'],
  ['src/env.ts', './upstream/address.ts'],
  ['src/auth/caller.ts', '../organisation/rates.ts'],
  ['src/auth/caller.ts', '../routes/answer.ts'],
  ['src/auth/caller.ts', '../upstream/headers.ts'],
  ['src/auth/caller.ts', '../update/merge-patch.ts'],
  ['src/update/merge-patch.ts', '../organisation/record.ts'],
  ['src/update/merge-patch.ts', '../upstream/verdict.ts'],
  ['src/update/merge-patch.ts', '../app.ts'],
  ['src/upstream/verdict.ts', '../auth/token.ts'],
  ['src/upstream/verdict.ts', '../update/connection-version.ts'],
  ['src/upstream/verdict.ts', '../organisation/session.ts'],
  ['src/upstream/verdict.ts', '../routes/answer.ts'],
  ['src/organisation/road.ts', '../routes/answer.ts'],
  ['src/organisation/road.ts', '../app.ts'],
  ['src/routes/meta.ts', '../app.ts'],
  ['src/app.ts', './organisation/organisation.ts'],
  ['src/app.ts', './auth/token.ts'],
  ['src/index.ts', './auth/token.ts'],
  ['src/verify/merkle.ts', '../organisation/tree.ts'],
  ['src/verify/note.ts', '../crypto.ts'],
  ['src/routes/audit.ts', '../verify/note.ts'],
  ['src/organisation/notary.ts', '../verify/merkle.ts'],
]
test.each(notDrawn)('%s must not import %s', (path, from) => {
  const to = posix.join(posix.dirname(path), from)
  const expected = [`${path}: imports ${to}, an arrow not drawn`]
  expect(complaints([file(path, `import { x } from '${from}'`)])).toEqual(expected)
  expect(complaints([file(path, `import type { X } from '${from}'`)])).toEqual(expected)
  expect(complaints([file(path, 'export type X = 1', `export { y } from '${from}'`)])).toEqual(expected)
  expect(complaints([file(path, 'import {', '  x,', '  type Y,', `} from '${from}'`)])).toEqual(expected)
  expect(complaints([file(path, `const x = await import('${from}')`)])).toEqual(expected)
  expect(complaints([file(path, `import '${from}'`)])).toEqual(expected)
})

const wrong: [what: string, example: File | File[], complaint: string][] = [
  [
    'a second caller of forward',
    file('src/organisation/road.ts', `import { forward } from '../upstream/forward.ts'`),
    "imports src/upstream/forward.ts, the object's alone",
  ],
  [
    'a route that forwards',
    file('src/routes/versions.ts', `import { forward } from '../upstream/forward.ts'`),
    "imports src/upstream/forward.ts, the object's alone",
  ],
  [
    'another sender of alerts',
    file('src/organisation/alerts.ts', `import { post } from '../upstream/post.ts'`),
    'imports src/upstream/post.ts, which sends',
  ],
  [
    'a route that reads tables',
    file('src/routes/audit.ts', `import type { Tables } from '../organisation/tables.ts'`),
    "imports src/organisation/tables.ts, the object's alone",
  ],
  [
    'a route that knows the object by more than its type',
    file('src/routes/admin.ts', `import { type X, Organisation } from '../organisation/organisation.ts'`),
    'imports src/organisation/organisation.ts as a value',
  ],
  [
    'a Worker that describes itself anew',
    file('src/routes/meta.ts', `import { openapi } from './openapi.ts'`),
    'imports src/routes/openapi.ts, which the Worker has no use for',
  ],
  [
    'a second user of node:crypto',
    file('src/auth/token.ts', `import { createHash } from 'node:crypto'`),
    'imports node:crypto',
  ],
  [
    'WebCrypto outside crypto.ts',
    file('src/auth/token.ts', `const key = await crypto.subtle.digest('SHA-256', bytes)`),
    'uses WebCrypto',
  ],
  [
    'a verifier that needs a package',
    file('src/verify/note.ts', `import * as z from 'zod/mini'`),
    'imports zod/mini, and must run on Node alone',
  ],
  ['HTTP inside', file('src/organisation/road.ts', `import type { Context } from 'hono'`), 'imports hono'],
  ['HTTP inside, by a part', file('src/update/x.ts', `import { Hono } from 'hono/tiny'`), 'imports hono'],
  [
    'a rule that calls out',
    file('src/organisation/road.ts', 'const x = await fetch(url)'),
    'is a rule, and has fetch(',
  ],
  [
    'a rule with a clock',
    file('src/organisation/rates.ts', 'const x = Date.now()'),
    'is a rule, and has Date.now(',
  ],
  [
    'a rule with a clock, spelt otherwise',
    file('src/organisation/rates.ts', 'const x = new Date()'),
    'is a rule, and has new Date()',
  ],
  [
    'a rule that waits',
    file('src/upstream/verdict.ts', 'setTimeout(x, 1)'),
    'is a rule, and has setTimeout(',
  ],
  [
    'a rule that rolls dice',
    file('src/auth/token.ts', 'const x = Math.random()'),
    'is a rule, and has Math.random',
  ],
  ['a secret revealed', file('src/routes/admin.ts', 'const x = cookie.reveal()'), 'reveals a secret'],
  ['a barrel', file('src/auth/index.ts', 'export const x = 1'), 'is a barrel'],
  [
    'a barrel by another name',
    file('src/auth/everything.ts', `export * from './token.ts'`, `export { x } from './caller.ts'`),
    'only re-exports',
  ],
  [
    'a file for everything',
    file('src/auth/helpers.ts', 'export const x = 1'),
    'is named after no noun of its own',
  ],
  [
    'a file of tests for everything',
    file('test/gateway/utils.ts', 'export const x = 1'),
    'is named after no noun of its own',
  ],
  [
    'a long file',
    file('src/auth/token.ts', ...Array.from({ length: maxLines }, () => 'x()')),
    'has more than 380 lines',
  ],
  ['no comment', { path: 'src/index.ts', text: 'export const x = 1\n' }, 'starts without a comment'],
  [
    'an empty comment',
    { path: 'test/rules/x.test.ts', text: '/**\n */\nexport const x = 1\n' },
    'starts without a comment',
  ],
  [
    'a stand-in that leans on what it tests',
    file('test/platform/platform.ts', `import { problems } from '../../src/errors.ts'`),
    'imports src/errors.ts, and must stand without it',
  ],
  [
    'the Worker leans on its tests',
    file('src/env.ts', `import { x } from '../test/platform/secrets.ts'`),
    'imports test/platform/secrets.ts',
  ],
  [
    'a circle',
    [
      file('src/auth/a.ts', `import { b } from './b.ts'`),
      file('src/auth/b.ts', `import { c } from './c.ts'`),
      file('src/auth/c.ts', `import { a } from './a.ts'`),
    ],
    'imports itself by way of src/auth/b.ts, src/auth/c.ts',
  ],
]
test.each(wrong)('%s is named', (_, example, complaint) => {
  const [first, ...rest] = [example].flat() as [File, ...File[]]
  expect(complaints([first, ...rest])).toEqual([`${first.path}: ${complaint}`])
})

const right: [string, File[]][] = [
  [
    'a circle of types',
    [
      file('src/auth/a.ts', `import type { B } from './b.ts'`, 'export const a = 1'),
      file('src/auth/b.ts', `import { a } from './a.ts'`),
    ],
  ],
  [
    'a message, by its type',
    [file('src/organisation/a.ts', `import type { Message } from '../upstream/post.ts'`)],
  ],
  ['words in a comment', [file('src/auth/a.ts', '// Not Date.now(), not fetch().', '/** crypto.subtle */')]],
  ['a date from a number', [file('src/auth/a.ts', 'const x = new Date(nowMs)')]],
  [
    'the object, by its type',
    [file('src/routes/a.ts', `import type { Organisation } from '../organisation/organisation.ts'`)],
  ],
]
test.each(right)('%s is fine', (_, examples) => {
  expect(complaints(examples)).toEqual([])
})
