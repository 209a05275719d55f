/**
 * Checks what the Worker weighs as it is deployed: what a caller's request needs, and what the console adds, each in a budget
 * of its own. A cold start loads both, and runs the first alone.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { build, builtWorker } from './gateway/build.ts'

const gzipped = (text: string) => gzipSync(text, { level: 9 }).byteLength

test('without the console the bundle has at most 92 KiB gzipped, and the console adds at most 24', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'))
  try {
    const nothing = join(folder, 'nothing.ts')
    writeFileSync(nothing, 'export const console = undefined\nexport class ConsoleReader {}\n')
    // Its pages, and what the organisation's object has for them alone.
    const left = ['./routes/console.tsx', './console-reader.ts'].map(path => `--alias=${path}:${nothing}`)
    build(folder, ...left)
    const whole = gzipped(builtWorker())
    const rest = gzipped(builtWorker(folder))
    expect(builtWorker(folder)).not.toContain('/console/organisations/')
    expect(rest).toBeLessThanOrEqual(92 * 1024)
    expect(whole - rest).toBeLessThanOrEqual(24 * 1024)
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
