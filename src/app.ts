/** The table of contents: every mount and the order of what surrounds them. Holds no logic of its own. */
import { administration } from './routes/administration.ts'
import { pages } from './routes/console.tsx'
import { configured, noTrailingSlash } from './routes/context.ts'
import { meta } from './routes/meta.ts'
import { later, part } from './routes/part.ts'
import { versions } from './routes/versions.ts'
import { webhooks } from './routes/webhooks.ts'

export const app = part()

app.use(noTrailingSlash())

app.use('/o/*', configured())
app.route('/o', versions)

app.all('/webhooks/*', later(webhooks))
app.all('/admin/*', later(administration))
app.all('/console/*', later(pages))

// All that remains.
app.notFound(later(meta))
