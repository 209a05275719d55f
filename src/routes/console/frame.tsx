/**
 * Owns what every page of the console shares: the frame around it, and how an instant, a state and an event are shown. Values
 * go into the markup through JSX alone, which escapes them. Never asks anyone for anything.
 */
import type { Child } from 'hono/jsx'
import type { Reader } from '../../auth/admin.ts'
import { stylesheetPath } from './style.ts'

/** Where something of an organisation stands in the console. */
export function pathOf(organisationId: string, tail = ''): string {
  return `/console/organisations/${encodeURIComponent(organisationId)}${tail}`
}

interface Frame {
  title: string
  reader?: Reader | undefined
  /** The organisation whose tabs are shown, and which of them is open. */
  organisation?: { id: string; tab: 'overview' | 'tokens' | 'hooks' | 'record' } | undefined
  children?: Child
}

const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%231a56c4'/%3E%3Cpath d='M4 5l4 7 4-7' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E"

export function Page({ title, reader, organisation, children }: Frame) {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>{`${title} · versori-gateway`}</title>
        <link rel="icon" href={icon} />
        <link rel="stylesheet" href={`/console${stylesheetPath()}`} />
      </head>
      <body>
        <a class="skip" href="#content">
          Skip to the content
        </a>
        <header class="top">
          <div>
            <a class="brand" href="/console">
              versori-gateway
            </a>
            {reader && (
              <div class="who">
                <span>
                  {reader.name} ({reader.role})
                </span>
                <form method="post" action="/console/logout">
                  <button class="quiet" type="submit">
                    Log out
                  </button>
                </form>
              </div>
            )}
          </div>
        </header>
        <main id="content" tabindex={-1}>
          {organisation && <Tabs {...organisation} />}
          {children}
        </main>
        <footer>Read-only: nothing can be changed here. All times are UTC.</footer>
      </body>
    </html>
  )
}

function Tabs({ id, tab }: { id: string; tab: string }) {
  const current = (name: string) => (tab === name ? 'page' : undefined)
  return (
    <>
      <nav aria-label="Where you are">
        <ol class="crumbs">
          <li>
            <a href="/console">Organisations</a>
          </li>
          <li class="id">{tab === 'record' ? <a href={pathOf(id)}>{id}</a> : id}</li>
        </ol>
      </nav>
      <nav aria-label="Of this organisation">
        <ul class="tabs">
          <li>
            <a href={pathOf(id)} aria-current={current('overview')}>
              Overview
            </a>
          </li>
          <li>
            <a href={pathOf(id, '/tokens')} aria-current={current('tokens')}>
              Tokens
            </a>
          </li>
          <li>
            <a href={pathOf(id, '/hooks')} aria-current={current('hooks')}>
              Hooks
            </a>
          </li>
        </ul>
      </nav>
    </>
  )
}

/** A page that says why there is no other. */
export function Message({ title, reader, children }: Frame) {
  return (
    <Page title={title} reader={reader}>
      <div class="card">
        <h1>{title}</h1>
        {children}
        <p>
          <a href="/console">To the organisations</a>
        </p>
      </div>
    </Page>
  )
}

/** An exact instant in UTC, from RFC 3339 or milliseconds since 1970. */
export function Instant({ at }: { at: string | number }) {
  const exact = new Date(at).toISOString()
  const [day, time = ''] = exact.split('T')
  return (
    <time class="nowrap" datetime={exact} title={exact}>
      {day} {time.slice(0, 8)}
    </time>
  )
}

/** The same with how long ago it was, or how long it is until then. */
export function Aged({ at, nowMs }: { at: string | null; nowMs: number }) {
  if (at === null) return <>never</>
  const ms = nowMs - Date.parse(at)
  return (
    <>
      <Instant at={at} />{' '}
      <span class="muted nowrap">({ms >= 0 ? `${span(ms)} ago` : `in ${span(-ms)}`})</span>
    </>
  )
}

/** A length of time in its largest fitting unit. */
export function span(ms: number): string {
  const units: [number, string][] = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
    [1_000, 'second'],
  ]
  const [size, unit] = units.find(([size]) => ms >= size) ?? [1_000, 'second']
  const count = Math.floor(ms / size)
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

type Mood = 'good' | 'bad' | 'doubt' | 'plain'

/** A state in words; its colour only repeats it. */
export function Chip({ mood, children }: { mood: Mood; children: Child }) {
  return <span class={`chip ${mood}`}>{children}</span>
}

const moods: Record<string, [mark: string, mood: Mood]> = {
  succeeded: ['✓', 'good'],
  unchanged: ['✓', 'good'],
  replayed: ['✓', 'good'],
  failed: ['✕', 'bad'],
  abandoned: ['✕', 'bad'],
  dead: ['✕', 'bad'],
  unknown: ['?', 'doubt'],
  expiring: ['!', 'doubt'],
  high: ['!', 'doubt'],
  denied: ['–', 'plain'],
  rejected: ['–', 'plain'],
}

/** How an event ended. */
export function Outcome({ event, applied }: { event: string; applied?: boolean | null | undefined }) {
  const word = event.slice(event.indexOf('.') + 1)
  const [mark, mood] = event === 'session.rejected' ? ['✕', 'bad' as const] : (moods[word] ?? ['·', 'plain'])
  if (event !== 'update.reconciled') {
    return (
      <Chip mood={mood}>
        <span aria-hidden="true">{mark} </span>
        {word}
      </Chip>
    )
  }
  if (applied === true) return <Chip mood="good">reconciled: applied</Chip>
  if (applied === false) return <Chip mood="bad">reconciled: not applied</Chip>
  return <Chip mood="doubt">reconciled: undecided</Chip>
}

export const stateMoods: Record<string, Mood> = {
  active: 'good',
  rejected: 'bad',
  missing: 'doubt',
  expired: 'doubt',
  revoked: 'plain',
}
