/**
 * Owns workerd as the bench runs it, the same for every Worker in it: through miniflare, without a proxy in front or anything
 * in the objects' way, with their storage on disk.
 */

import { join } from 'node:path'
import { Miniflare, type MiniflareOptions } from 'miniflare'
import { unstable_readConfig } from 'wrangler'
import { childrenOf } from './meter.ts'

const config = unstable_readConfig({ config: join(import.meta.dirname, '../../wrangler.toml') })

export interface Workerd {
  url: string
  pid: number
  inspector: () => Promise<URL>
  stop: () => Promise<void>
}

export interface Program {
  name: string
  /** By file name; the first is the entry. */
  modules: Record<string, string>
  /** By binding: the class of the object behind it. */
  objects: Record<string, string>
  variables: Record<string, string>
  /** A folder; what it holds from an earlier run is still there. */
  storage: string
  /** Whether to listen for a debugger; it slows everything down. */
  inspected?: boolean
}

export async function startWorkerd(program: Program): Promise<Workerd> {
  const { name, modules, objects, variables, storage } = program
  const env: Record<string, unknown> = {
    // Out of the way: all load comes from one address.
    ADDRESS_LIMIT: { type: 'rate-limit', namespace: '8417', simple: { limit: 1_000_000_000, period: 60 } },
  }
  for (const [key, value] of Object.entries(variables)) env[key] = { type: 'text', value }
  for (const [key, exportName] of Object.entries(objects)) {
    env[key] = { type: 'durable-object', worker: name, exportName }
  }
  const stored = Object.values(objects).map(each => [each, { type: 'durable-object', storage: 'sqlite' }])
  const options = {
    host: '127.0.0.1',
    port: 0,
    cf: false,
    resourcePersistencePath: storage,
    handleStructuredLogs: () => {},
    ...(program.inspected ? { inspectorPort: 0 } : {}),
    workers: [
      {
        config: {
          name,
          compatibilityDate: config.compatibility_date,
          compatibilityFlags: config.compatibility_flags,
          manifest: {
            mainModule: Object.keys(modules)[0],
            modulesRoot: storage,
            modules: Object.fromEntries(
              Object.entries(modules).map(([file, contents]) => [file, { type: 'esm', contents }]),
            ),
          },
          exports: Object.fromEntries(stored),
          env,
        },
        dev: { rootPath: storage, unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }] },
      },
    ],
  } as unknown as MiniflareOptions
  const before = childrenOf(process.pid)
  const miniflare = new Miniflare(options)
  await miniflare.ready
  const { origin } = await miniflare.unsafeGetDirectURL(name)
  const [pid] = childrenOf(process.pid).filter(each => !before.includes(each))
  if (pid === undefined) throw new Error('workerd did not start')
  return { url: origin, pid, inspector: () => miniflare.getInspectorURL(), stop: () => miniflare.dispose() }
}
