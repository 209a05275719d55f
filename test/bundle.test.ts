/** Checks what the Worker weighs as it is deployed: a cold start loads all of it. */
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { builtWorker } from './gateway/build.ts'

test('the bundle has at most 92 KiB gzipped', () => {
  expect(gzipSync(builtWorker(), { level: 9 }).byteLength).toBeLessThanOrEqual(92 * 1024)
})
