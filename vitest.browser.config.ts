import { defineConfig } from 'vitest/config'

/** `npm run test:browser`: what needs Chromium, apart from all other tests. */
export default defineConfig({
  test: {
    include: ['test/browser/**/*.test.ts'],
    globalSetup: 'test/gateway/build.ts',
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
})
