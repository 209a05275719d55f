/**
 * Checks what the Worker weighs as it is deployed: what every request needs, what expressions of hooks add, and what the console
 * adds, each in a budget of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { buildWithout, builtWorker } from './gateway/build.ts'

const gzipped = (text: string) => gzipSync(text, { level: 9 }).byteLength

test('the bundle has at most 70 KiB gzipped, expressions add at most 26, and the console 24', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'))
  try {
    const whole = gzipped(builtWorker())
    const withoutConsole = buildWithout(folder, 'console')
    const rest = gzipped(buildWithout(folder, 'console', 'expressions'))
    expect(withoutConsole).not.toContain('/console/organisations/')
    expect(rest).toBeLessThanOrEqual(70 * 1024)
    expect(gzipped(withoutConsole) - rest).toBeLessThanOrEqual(26 * 1024)
    expect(whole - gzipped(withoutConsole)).toBeLessThanOrEqual(24 * 1024)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the console is evaluated at its first use, not at the start', () => {
  const text = builtWorker()
  const [, first = ''] =
    /"\/console\/\*".{1,80}Promise\.resolve\(\)\.then\(\(\)=>\((\w+)\(\),/.exec(text) ?? []
  // The bundler has wrapped the module into a function, which only that line calls.
  expect(text).toMatch(new RegExp(`\\b${first}=\\w+\\(\\(\\)=>\\{`))
  expect(text.match(new RegExp(`\\b${first}\\(\\)`, 'g'))?.length).toBe(1)
})
