/**
 * Owns what the cron trigger does: asks every organisation to read its probe and to say how it stands. Never stops at one
 * that fails.
 */
import { uuidv7 } from '../crypto.ts'
import { readConfig } from '../env.ts'

const pageSize = 100
const atOnce = 10

/** One run. Without a valid configuration nothing is done: GET /health says so. */
export async function hourly(env: Env): Promise<void> {
  const result = readConfig(env)
  if (!result.ok) return
  const { directory, organisations, locationHint } = result.config
  for (let after = ''; ; ) {
    const page = await directory.getByName('directory').list(after, pageSize)
    const ids = page.map(({ organisationId }) => organisationId)
    for (let i = 0; i < ids.length; i += atOnce) {
      await Promise.allSettled(
        ids.slice(i, i + atOnce).map(organisationId => {
          const origin = { organisationId, requestId: uuidv7(Date.now()), client: {} }
          return organisations.getByName(organisationId, { locationHint }).lookAfter(origin)
        }),
      )
    }
    after = ids.at(-1) ?? ''
    if (page.length < pageSize) return
  }
}
