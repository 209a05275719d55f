/** Owns the one build of a test run: the Worker exactly as it would be deployed. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const outdir = join(root, '.wrangler/test-build')

/** Runs before all tests. */
export default function buildOnce(): void {
  build(outdir)
}

/** Builds the Worker into a folder, with further flags of wrangler's. */
export function build(folder: string, ...flags: string[]): void {
  const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js')
  execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', folder, ...flags], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

/** What has a budget of its own: the modules that it consists of, and what stands in for them. */
const parts = {
  console: {
    // Its pages, and what the organisation's object has for them alone.
    modules: ['./routes/console.tsx', './console-reader.ts'],
    stub: 'export const pages = undefined\nexport class ConsoleReader {}\n',
  },
  expressions: {
    modules: ['@marcbachmann/cel-js'],
    stub: `const same = function () { return this }
      export class Environment {
        registerVariable = same; registerType = same; registerFunction = same; registerOperator = same
      }
      export class EvaluationError extends Error {}\n`,
  },
}

/** The text of a bundle that lacks some parts. `folder` is for files that are of no use afterwards. */
export function buildWithout(folder: string, ...lacking: (keyof typeof parts)[]): string {
  return buildInstead(
    folder,
    lacking.map(part => parts[part]),
  )
}

/** The text of a bundle in which some modules, as they are imported, are another text. */
export function buildInstead(
  folder: string,
  others: readonly { modules: readonly string[]; stub: string }[],
): string {
  const flags = others.flatMap(({ modules, stub }, i) => {
    const file = join(folder, `stub${i}.js`)
    writeFileSync(file, `${stub}\nglobalThis.standsIn${i} = true\n`)
    return modules.map(path => `--alias=${path}:${file}`)
  })
  build(folder, ...flags)
  const text = builtWorker(folder)
  for (const [i, { modules }] of others.entries()) {
    if (!text.includes(`standsIn${i}`)) throw new Error(`nothing imports ${modules.join(' or ')}`)
  }
  return text
}

/** The bundle's text. */
export function builtWorker(folder = outdir): string {
  return readFileSync(join(folder, 'index.js'), 'utf8')
}
