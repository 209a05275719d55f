/**
 * Checks what the Worker weighs as it is deployed: what every request needs, what expressions of hooks add, and what the console
 * adds, each in a budget of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { buildWithout, builtWorker } from './gateway/build.ts'

const gzipped = (text: string) => gzipSync(text, { level: 9 }).byteLength

test('the bundle has at most 77 KiB gzipped, expressions add at most 25, and the console 20', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'))
  try {
    const whole = gzipped(builtWorker())
    const withoutConsole = buildWithout(folder, 'console')
    const rest = gzipped(buildWithout(folder, 'console', 'expressions'))
    expect(withoutConsole).not.toContain('/console/organisations/')
    expect(rest).toBeLessThanOrEqual(77 * 1024)
    expect(gzipped(withoutConsole) - rest).toBeLessThanOrEqual(25 * 1024)
    expect(whole - gzipped(withoutConsole)).toBeLessThanOrEqual(20 * 1024)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('start-up makes no path but those of callers', () => {
  const paths = app.routes.map(({ path }) => path).filter(path => !path.startsWith('/o/'))
  expect(paths.toSorted()).toEqual(['/*', '/*', '/admin/*', '/console/*', '/webhooks/*'])
})

test('the library for expressions and the description are evaluated at their first use, not at the start', () => {
  const text = builtWorker()
  const loads = [...text.matchAll(/Promise\.resolve\(\)\.then\(\(\)=>\(([\w$]+)\(\),/g)]
  expect(loads.length).toBe(2)
  for (const [, first = ''] of loads) {
    // The bundler has wrapped its modules into functions, the first of which only that line calls.
    expect(text.split(`${first}()`).length - 1).toBe(1)
  }
})
