import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/gateway/build.ts',
    setupFiles: 'test/rules/seed.ts',
    // Gateway tests wait more than they work: for alarms, deadlines and restarts.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
