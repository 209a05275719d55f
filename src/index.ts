/** The Worker's entry: what Cloudflare calls. */
import { app } from './app.ts'
import { hourly } from './routes/hourly.ts'

export { Directory } from './organisation/directory.ts'
export { Organisation } from './organisation/organisation.ts'

export default { fetch: app.fetch, scheduled: (_, env) => hourly(env) } satisfies ExportedHandler<Env>
