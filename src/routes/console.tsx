/**
 * Owns the console under /console: who may see it, and which page is where. It only reads: no path here changes anything but
 * who is logged in, so that neither a stolen cookie nor a script in a page could. Never accepts a bearer, nor is its
 * cookie accepted elsewhere.
 */
import type { Context, MiddlewareHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { readerOf } from '../auth/admin.ts'
import { loginCookie, logoutCookie, visitorOf } from '../auth/console-cookie.ts'
import { Tries } from '../auth/tries.ts'
import { problems, type Refusal, type Result, statusOf } from '../errors.ts'
import type { DeliveryPage, Overview, Trail } from '../organisation/console-reader.ts'
import { deliveryStates } from '../organisation/deliveries.ts'
import type { HookView } from '../organisation/hooks.ts'
import type { ConsoleCall } from '../organisation/messages.ts'
import type { Receipt } from '../organisation/notary.ts'
import type { Organisation } from '../organisation/organisation.ts'
import type { TokenView } from '../organisation/tokens.ts'
import { ask, problem, refusalOf } from './answer.ts'
import { pageLength, readFilters } from './console/filters.ts'
import { Message, pathOf } from './console/frame.tsx'
import { DeliveriesPage, HooksPage, NoHookPage } from './console/hooks.tsx'
import { LoginPage } from './console/login.tsx'
import { type Listed, OrganisationsPage } from './console/organisations.tsx'
import { OverviewPage } from './console/overview.tsx'
import { RecordPage } from './console/record.tsx'
import { stylesheet, stylesheetPath } from './console/style.ts'
import { TokensPage } from './console/tokens.tsx'
import { type AppEnv, bodyOf, configured, hostOf, originOf } from './context.ts'
import { addressOf, countRefused, isBlocked } from './gate.ts'
import { part } from './part.ts'

const maxFormBytes = 8 * 1024
const blockedSeconds = 60
/** Each one's object is asked for what failed last. */
const organisationsPage = 25

/** One for each isolate. */
const tries = new Tries()

export function pages() {
  const pages = part().basePath('/console')

  pages.use(configured(), guarded(), onlyReading())

  pages.get(stylesheetPath(), c => {
    return c.body(stylesheet, 200, {
      'Content-Type': 'text/css; charset=utf-8',
      'Cache-Control': 'public, max-age=31536000, immutable',
    })
  })

  pages.get('/login', c => show(c, <LoginPage next={pathWithin(c, c.req.query('next'))} />))

  pages.post('/login', async c => {
    const form = await formOf(c)
    const next = pathWithin(c, form?.get('next'))
    const refused = (status: 403 | 429, notice: string) =>
      show(c, <LoginPage next={next} notice={notice} />, status)
    const nowMs = Date.now()
    const address = addressOf(c)
    // Not even a right one is looked at: what is not looked at tells nothing.
    const wait = tries.waitSeconds(address, nowMs) ?? (isBlocked(c) ? blockedSeconds : undefined)
    if (wait !== undefined) {
      c.header('Retry-After', String(wait))
      return refused(429, 'Too many wrong secrets came from your address. Wait a minute and try again.')
    }
    const reader = readerOf(form?.get('secret') ?? '', c.get('config'))
    if (reader) {
      c.header('Set-Cookie', loginCookie(reader, nowMs))
      return c.redirect(next, 303)
    }
    tries.count(address, nowMs)
    const counted = await countRefused(c)
    const id = /^\/console\/organisations\/([A-Za-z0-9_-]{1,64})(?:[/?]|$)/.exec(next)?.[1]
    if (id && counted) await ask(c, id, to => to.adminDenied(originOf(c, id)))
    return refused(403, 'This is not the secret of an admin or auditor.')
  })

  pages.post('/logout', c => {
    c.header('Set-Cookie', logoutCookie)
    return c.redirect('/console/login', 303)
  })

  pages.use(loggedIn())

  pages.get('/', async c => {
    const after = c.req.query('after') ?? ''
    const directory = c.get('config').directory.getByName('directory')
    const rows = await directory.list(after, organisationsPage + 1)
    const shown = rows.slice(0, organisationsPage)
    const organisations = await Promise.all(
      shown.map(async (row): Promise<Listed> => {
        const asked = await ask(c, row.organisationId, organisation => organisation.console.lastFailure())
        return { ...row, failure: asked.ok ? asked.value : undefined }
      }),
    )
    const next = rows.length > organisationsPage ? (shown.at(-1)?.organisationId ?? null) : null
    return show(
      c,
      <OrganisationsPage
        reader={c.get('visitor')}
        organisations={organisations}
        paged={after !== ''}
        next={next}
      />,
    )
  })

  const organisation = '/organisations/:organisation_id{[A-Za-z0-9_-]{1,64}}'
  pages.get(organisation, async c => {
    const id = c.req.param('organisation_id')
    const asked = readFilters(new URL(c.req.url).searchParams)
    // With a filter that is not one, the page is shown and the log is not looked through.
    const query = asked.query ?? { limit: 1, before: 1 }
    const overview = await read<Overview | null>(c, (to, call) => to.console.overview(call, query))
    if (!overview.ok) return refusedPage(c, overview.refusal)
    const page = { reader: c.get('visitor'), id, overview: overview.value, asked, nowMs: Date.now() }
    return show(c, <OverviewPage {...page} />, asked.query ? 200 : 400)
  })

  pages.get(`${organisation}/tokens`, async c => {
    const tokens = await read<TokenView[] | null>(c, (to, call) => to.console.tokens(call))
    if (!tokens.ok) return refusedPage(c, tokens.refusal)
    const page = { reader: c.get('visitor'), id: c.req.param('organisation_id'), nowMs: Date.now() }
    return show(c, <TokensPage {...page} tokens={tokens.value ?? []} />)
  })

  pages.get(`${organisation}/hooks`, async c => {
    const hooks = await read<HookView[] | null>(c, (to, call) => to.console.hooks(call))
    if (!hooks.ok) return refusedPage(c, hooks.refusal)
    const page = { reader: c.get('visitor'), id: c.req.param('organisation_id'), nowMs: Date.now() }
    return show(c, <HooksPage {...page} hooks={hooks.value ?? []} />)
  })

  pages.get(`${organisation}/hooks/:hook_id{[0-9A-Za-z]{24}}`, async c => {
    const { organisation_id: id, hook_id } = c.req.param()
    const state = deliveryStates.find(each => each === c.req.query('state'))
    const before = /^[1-9]\d{0,14}$/.exec(c.req.query('before') ?? '')?.[0]
    const filter = { state, before: Number(before ?? Number.MAX_SAFE_INTEGER), limit: pageLength }
    const found = await read<DeliveryPage | null>(c, (to, call) =>
      to.console.deliveries(call, hook_id, filter),
    )
    if (!found.ok) return refusedPage(c, found.refusal)
    const page = { reader: c.get('visitor'), id, state, paged: before !== undefined, nowMs: Date.now() }
    return found.value
      ? show(c, <DeliveriesPage {...page} {...found.value} />)
      : show(c, <NoHookPage {...page} />, 404)
  })

  const record = `${organisation}/records/:seq{[1-9][0-9]{0,14}}`
  pages.get(record, async c => {
    const trail = await read<Trail | null>(c, (to, call) =>
      to.console.trail(call, Number(c.req.param('seq'))),
    )
    if (!trail.ok) return refusedPage(c, trail.refusal)
    if (trail.value === null) return noRecord(c)
    return show(
      c,
      <RecordPage reader={c.get('visitor')} id={c.req.param('organisation_id')} trail={trail.value} />,
    )
  })

  /** What `GET /o/…/receipts/{seq}` gives to whom the record is about: it convinces without the console. */
  pages.get(`${record}/receipt`, async c => {
    const { organisation_id: id, seq } = c.req.param()
    const name = { organisationId: id, host: hostOf(c) }
    const receipt = await read<Receipt | null>(c, (to, call) => to.console.receipt(call, name, Number(seq)))
    if (!receipt.ok && receipt.refusal.code !== 'not-found') return refusedPage(c, receipt.refusal)
    if (!receipt.ok || receipt.value === null) return noRecord(c)
    return c.body(`${JSON.stringify(receipt.value)}\n`, 200, {
      'Content-Type': 'application/json',
      'Content-Disposition': `attachment; filename="receipt-${id}-${seq}.json"`,
    })
  })

  pages.notFound(c => {
    const page = (
      <Message title="Not found" reader={c.get('visitor')}>
        <p>There is nothing at this path.</p>
      </Message>
    )
    return show(c, page, 404)
  })

  pages.onError((error, c) => refusedPage(c, refusalOf(error, c.get('requestId'))))
  return pages
}

/**
 * A GET, or one of the two forms, which only this site may send. SameSite does not do for a login, which needs no cookie.
 * The Fetch Metadata header is sent by every browser since 2023; where it is missing, Origin must be this site.
 */
function onlyReading(): MiddlewareHandler<AppEnv> {
  return async function onlyReading(c, next) {
    const form = /^\/console\/log(in|out)$/.exec(c.req.path)?.[1]
    const methods = form === 'in' ? ['GET', 'POST'] : form === 'out' ? ['POST'] : ['GET']
    if (!methods.includes(c.req.method)) return problem(c, { code: 'method-not-allowed', allow: methods })
    if (c.req.method === 'GET') return next()
    const site = c.req.header('Sec-Fetch-Site')
    const own = new URL(c.req.url).origin
    if (site === undefined ? c.req.header('Origin') === own : site === 'same-origin') return next()
    const page = (
      <Message title="Not from here">
        <p>This form was sent from another site, and nothing was done.</p>
      </Message>
    )
    return show(c, page, 403)
  }
}

/** What keeps a page from running, loading or sending anything, and from being framed or told of. */
function guarded(): MiddlewareHandler<AppEnv> {
  const policy = [
    "default-src 'none'",
    "style-src 'self'",
    'img-src data:',
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
  return async function guarded(c, next) {
    c.header('Content-Security-Policy', policy)
    // With no-referrer a form has no Origin either, by which a browser without Fetch Metadata is known to be from here.
    c.header('Referrer-Policy', 'same-origin')
    c.header('X-Frame-Options', 'DENY')
    c.header('Cross-Origin-Opener-Policy', 'same-origin')
    c.header('Cross-Origin-Resource-Policy', 'same-origin')
    c.header('X-Robots-Tag', 'noindex')
    return next()
  }
}

/** Someone with a good cookie; anyone else is sent to log in, and back here after it. */
function loggedIn(): MiddlewareHandler<AppEnv> {
  return async function loggedIn(c, next) {
    const visitor = visitorOf(c.req.header('Cookie'), c.get('config'), Date.now())
    if (visitor) {
      c.set('visitor', visitor)
      return next()
    }
    const { pathname, search } = new URL(c.req.url)
    const from = pathname === '/console' ? '' : `?next=${encodeURIComponent(pathname + search)}`
    return c.redirect(`/console/login${from}`, 303)
  }
}

/** Asks the organisation of the path, in the name of who is logged in. */
async function read<T>(
  c: Context<AppEnv>,
  question: (to: DurableObjectStub<Organisation>, call: ConsoleCall) => Promise<Result<T>>,
): Promise<Result<T>> {
  const { role, name, loggedInAt } = c.get('visitor')
  const call = { ...originOf(c), reader: { role, name }, loggedInAt }
  const asked = await ask<Result<T>>(c, call.organisationId, to => question(to, call))
  return asked.ok ? asked.value : asked
}

/** A path of the console that a link or form named; the list for anything else, so that nobody is sent elsewhere. */
function pathWithin(c: Context<AppEnv>, wanted: string | null | undefined): string {
  const here = new URL(c.req.url).origin
  if (!wanted || wanted.length > 2_000 || !URL.canParse(wanted, here)) return '/console'
  const { origin, pathname, search } = new URL(wanted, here)
  const within = origin === here && /^\/console(\/organisations\/.*)?$/.test(pathname)
  return within ? pathname + search : '/console'
}

async function formOf(c: Context<AppEnv>): Promise<URLSearchParams | undefined> {
  const type = c.req.header('Content-Type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded') return undefined
  const body = await bodyOf(c, maxFormBytes)
  return body.ok ? new URLSearchParams(new TextDecoder().decode(body.value)) : undefined
}

function refusedPage(c: Context<AppEnv>, refusal: Refusal): Response | Promise<Response> {
  const { title, remedy } = problems[refusal.code]
  const page = (
    <Message title={`${title}.`} reader={c.get('visitor')}>
      {refusal.code === 'audit-unavailable' && (
        <p>Whoever reads here is recorded first, so nothing can be shown while the log takes no record.</p>
      )}
      {'detail' in refusal && refusal.detail && <p>{refusal.detail}</p>}
      <p>{`What to do: ${remedy}`}</p>
      <p class="muted">{`Request ${c.get('requestId')}`}</p>
    </Message>
  )
  return show(c, page, statusOf(refusal) as ContentfulStatusCode)
}

function noRecord(c: Context<AppEnv>): Response | Promise<Response> {
  const page = (
    <Message title="No such record" reader={c.get('visitor')}>
      <p>
        There is no record with this number.{' '}
        <a href={pathOf(c.req.param('organisation_id') ?? '')}>To the timeline</a>
      </p>
    </Message>
  )
  return show(c, page, 404)
}

function show(
  c: Context<AppEnv>,
  page: { toString(): string | Promise<string> },
  status: ContentfulStatusCode = 200,
): Response | Promise<Response> {
  return c.html(`<!doctype html>${page}`, status)
}
