/**
 * Owns the runtime under test: the built Worker in workerd, through miniflare and without a proxy in front, with its
 * storage on disk. Never stands in for any part of it.
 */
import { join } from 'node:path'
import { Miniflare, type MiniflareOptions } from 'miniflare'
import { unstable_readConfig } from 'wrangler'
import { builtWorker } from './build.ts'

const configPath = join(import.meta.dirname, '../../wrangler.toml')

/** A value of undefined leaves a binding out; `AUDIT_ARCHIVE` is a bucket where it is `bound`. */
export type Bindings = Record<string, string | undefined>

export interface Runtime {
  miniflare: Miniflare
  url: string
}

/** Starts workerd. `storage` is a folder; what it holds from an earlier run is still there. `bundle`: the Worker's text. */
export async function startRuntime(
  storage: string,
  bindings: Bindings,
  onLog: (line: string) => void = () => {},
  bundle: string = builtWorker(),
): Promise<Runtime> {
  const config = unstable_readConfig({ config: configPath })
  const name = config.name as string
  const objects = ['Organisation', 'Directory'].filter(each => bindings[each.toUpperCase()] !== 'unbound')
  const env: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(bindings)) {
    if (value !== undefined && value !== 'unbound' && value !== 'bound') env[key] = { type: 'text', value }
  }
  for (const each of objects) {
    env[each.toUpperCase()] = { type: 'durable-object', worker: name, exportName: each }
  }
  if (bindings.ADDRESS_LIMIT !== 'unbound') {
    // Out of the way of tests that are not about it: they all come from one address.
    const limit = Number(bindings.ADDRESS_LIMIT ?? 1_000_000)
    env.ADDRESS_LIMIT = { type: 'rate-limit', namespace: '8417', simple: { limit, period: 60 } }
  }
  if (bindings.AUDIT_ARCHIVE === 'bound') env.AUDIT_ARCHIVE = { type: 'r2', name: 'archive' }
  const exported = Object.fromEntries(
    ['Organisation', 'Directory'].map(each => [each, { type: 'durable-object', storage: 'sqlite' }]),
  )
  const options = {
    host: '127.0.0.1',
    port: 0,
    cf: false,
    // For tests that look into an object's storage, or break it.
    unsafeInspectDurableObjects: true,
    resourcePersistencePath: storage,
    handleStructuredLogs: ({ message }: { message: string }) => onLog(message),
    workers: [
      {
        config: {
          name,
          compatibilityDate: config.compatibility_date,
          compatibilityFlags: config.compatibility_flags,
          manifest: {
            mainModule: 'index.js',
            modulesRoot: storage,
            modules: { 'index.js': { type: 'esm', contents: bundle } },
          },
          exports: exported,
          env,
        },
        dev: { rootPath: storage, unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }] },
      },
    ],
  } as unknown as MiniflareOptions
  const miniflare = new Miniflare(options)
  await miniflare.ready
  const url = await miniflare.unsafeGetDirectURL(name)
  return { miniflare, url: url.origin }
}
