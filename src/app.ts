/** The table of contents: every mount and the order of what surrounds them. Holds no logic of its own. */
import { Hono } from 'hono/tiny'
import { admin, administrator, validOrganisation } from './routes/admin.ts'
import { problem, refusalOf } from './routes/answer.ts'
import { audit } from './routes/audit.ts'
import { type AppEnv, configured, noTrailingSlash, requestId } from './routes/context.ts'
import { hooks } from './routes/hooks.ts'
import { meta } from './routes/meta.ts'
import { versions } from './routes/versions.ts'
import { webhooks } from './routes/webhooks.ts'

export const app = new Hono<AppEnv>()

app.use(requestId(), noTrailingSlash())

app.use('/o/*', configured())
app.route('/o', versions)

app.use('/webhooks/*', configured())
app.route('/webhooks', webhooks)

app.use('/admin/*', configured(), administrator())
app.use('/admin/organisations/:organisation_id/*', validOrganisation())
app.route('/admin', admin)
app.route('/admin', hooks)
app.route('/admin', audit)

// Loaded at its first use: what draws pages is of no use to a caller.
app.all('/console/*', configured(), async c => (await import('./routes/console.tsx')).console(c))

app.route('/', meta)
app.notFound(c => problem(c, { code: 'not-found', detail: 'There is nothing at this path.' }))
app.onError((error, c) => problem(c, refusalOf(error, c.get('requestId'))))
