import { configDefaults, defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Those need Chromium: npm run test:browser.
    exclude: [...configDefaults.exclude, 'test/browser/**'],
    globalSetup: ['test/gateway/build.ts', 'test/browser/left-out.ts'],
    setupFiles: 'test/rules/seed.ts',
    // Gateway tests wait more than they work: for alarms, deadlines and restarts.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
