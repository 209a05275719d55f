/** Owns what the gateway says of itself: health, the description of its API, the meaning of its problems. */
import { readConfig } from '../env.ts'
import { type Code, problems } from '../errors.ts'
import { verifierKey } from '../organisation/checkpoint.ts'
import { problem } from './answer.ts'
import { allow, configured, hostOf } from './context.ts'
import { part } from './part.ts'

export function meta() {
  const meta = part()

  meta.use('/health', allow('GET', 'HEAD')).get('/health', c => {
    const result = readConfig(c.env)
    if (result.ok) return c.json({ status: 'ok' })
    return problem(c, {
      code: 'not-configured',
      failing: result.failing.map(({ name, problem }) => `${name} ${problem}`),
    })
  })

  // Public, as the key is: who holds a checkpoint need not hold a secret.
  meta
    .use('/audit/key', allow('GET', 'HEAD'), configured())
    .get('/audit/key', c => c.text(`${verifierKey(hostOf(c), c.get('config').signingKey.publicKey)}\n`))

  meta.use('/openapi.json', allow('GET', 'HEAD')).get('/openapi.json', async c => {
    // Evaluated when somebody asks.
    const { default: openapi } = await import('./openapi.json', { with: { type: 'json' } })
    return c.json(openapi)
  })

  meta.use('/problems/:code', allow('GET', 'HEAD')).get('/problems/:code', c => {
    const code = c.req.param('code')
    if (!Object.hasOwn(problems, code)) {
      return problem(c, { code: 'not-found', detail: 'There is no problem with this code.' })
    }
    const { status, title, remedy } = problems[code as Code]
    return c.text(`${code} (${status})\n\n${title}.\n\nWhat to do: ${remedy}\n`)
  })
  return meta
}
