/** The Worker's entry: what Cloudflare calls. */
import { app } from './app.ts'

export { Directory } from './organisation/directory.ts'
export { Organisation } from './organisation/organisation.ts'

export default { fetch: app.fetch }
