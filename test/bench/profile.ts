/**
 * `node test/bench/profile.ts [--warm 20] [--seconds 5] [--top 15] [--folder DIR]`: where workerd spends its CPU time under PUT and under GET, as its
 * own profiler sees it, function by function. The Worker is built without minifying, so that functions have their names.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startGenerator, startServer } from './child.ts'
import { functionsOf, longestMs, type Profile } from './cpu-profile.ts'
import { startGateway, worker } from './gateway.ts'
import { callers, request } from './scenarios.ts'
import { basePath } from './subjects.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    warm: { type: 'string', default: '20' },
    folder: { type: 'string' },
    top: { type: 'string', default: '15' },
  },
})
const seconds = Number(values.seconds)
const root = join(import.meta.dirname, '../..')

/** Asks the gateway's debugger among those of a workerd; answers come back by number. */
async function debuggerAt(inspector: URL): Promise<(method: string, params?: object) => Promise<unknown>> {
  const list = await fetch(`http://${inspector.host}/json/list`)
  const targets = (await list.json()) as { id: string; webSocketDebuggerUrl: string }[]
  const url = targets.find(({ id }) => id.endsWith(worker))?.webSocketDebuggerUrl
  if (url === undefined) throw new Error(`no debugger of ${worker} at ${inspector}`)
  const socket = new WebSocket(url)
  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  let last = 0
  socket.addEventListener('message', ({ data }) => {
    const { id, result, error } = JSON.parse(String(data))
    if (error) waiting.get(id)?.reject(new Error(error.message))
    else waiting.get(id)?.resolve(result)
  })
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', () => reject(new Error(`no debugger at ${url}`)))
  })
  return (method, params = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject })
      socket.send(JSON.stringify({ id: last, method, params }))
    })
}

const folder = mkdtempSync(join(tmpdir(), 'bench-'))
const build = join(folder, 'build')
const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js')
execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run', '--minify=false', '--outdir', build], {
  cwd: root,
  env: { ...process.env, WRANGLER_SEND_METRICS: 'false' },
  stdio: ['ignore', 'ignore', 'inherit'],
})
const storage = join(folder, 'storage')
mkdirSync(storage)
const upstream = await startServer('upstream.ts')
const generator = await startGenerator()
const source = readFileSync(join(build, 'index.js'), 'utf8')
const gateway = await startGateway({ upstream: upstream.url + basePath, storage, inspected: true, source })
try {
  await gateway.setUp('BENCH')
  const ask = await debuggerAt(await gateway.inspector())
  await ask('Profiler.enable')
  await ask('Profiler.setSamplingInterval', { interval: 200 })
  for (const method of ['PUT', 'GET']) {
    const requests = Array.from({ length: callers }, (_, caller) => [
      request(method, 'BENCH', caller, gateway.token('BENCH')),
    ])
    const load = { url: gateway.url, connections: callers, requests, status: 200 }
    // Until what runs often is compiled.
    await generator.run({ ...load, seconds: Number(values.warm) })
    await ask('Profiler.start')
    const { perSecond } = await generator.run({ ...load, seconds })
    const { profile } = (await ask('Profiler.stop')) as { profile: Profile }
    if (values.folder !== undefined) {
      writeFileSync(join(values.folder, `${method}.cpuprofile`), JSON.stringify(profile))
    }
    const { busyMs, functions } = functionsOf(profile)
    const each = (busyMs / (perSecond * seconds)).toFixed(2)
    const pause = Math.round(longestMs(profile, '(garbage collector)'))
    console.log(
      `\n${method}, ${callers} connections: ${Math.round(perSecond)} requests/s under the profiler, ${each} ms busy for each, the longest pause for garbage ${pause} ms\n`,
    )
    console.log('   self   total')
    for (const { name, self, total } of functions.slice(0, Number(values.top))) {
      const percent = (share: number) => `${(share * 100).toFixed(1)} %`.padStart(7)
      console.log(`${percent(self)} ${percent(total)}  ${name}`)
    }
  }
} finally {
  await gateway.stop()
  generator.stop()
  await upstream.stop()
  rmSync(folder, { recursive: true, force: true })
}
process.exit()
