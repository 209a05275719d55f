/** Owns the page of one organisation: its session's health first, then the last day, then the timeline. */
import type { Reader } from '../../auth/admin.ts'
import type { Overview } from '../../organisation/console-reader.ts'
import type { SessionView } from '../../organisation/session.ts'
import { Chart } from './chart.tsx'
import type { Asked } from './filters.ts'
import { Aged, Chip, type Instant, Outcome, Page, pathOf, span, stateMoods } from './frame.tsx'
import { Timeline } from './timeline.tsx'

interface Props {
  reader: Reader
  id: string
  /** Null where nothing is stored under this id. */
  overview: Overview | null
  asked: Asked
  nowMs: number
}

export function OverviewPage({ reader, id, overview, asked, nowMs }: Props) {
  return (
    <Page title={id} reader={reader} organisation={{ id, tab: 'overview' }}>
      <h1 class="id">{id}</h1>
      {overview === null ? (
        <div class="card">
          <p class="empty">
            Nothing is stored under this id: it has no session, no tokens and no records. Compare it with the
            list of organisations.
          </p>
        </div>
      ) : (
        <>
          {overview.stopped !== null && (
            <section class="card" aria-labelledby="stopped">
              <h2 id="stopped">Nothing is written</h2>
              <div class="todo bad">
                <p>{overview.stopped}</p>
              </div>
            </section>
          )}
          <Session id={id} session={overview.session} nowMs={nowMs} />
          <section class="card" aria-labelledby="failure">
            <h2 id="failure">Last failure</h2>
            {overview.lastFailure === null ? (
              <p class="muted">No request among the newest records has failed.</p>
            ) : (
              <p>
                {overview.lastFailure.event.split('.')[0]} <Outcome event={overview.lastFailure.event} />{' '}
                <Aged at={new Date(overview.lastFailure.time).toISOString()} nowMs={nowMs} />{' '}
                <a href={pathOf(id, `/records/${overview.lastFailure.seq}`)}>
                  {`See record ${overview.lastFailure.seq}`}
                </a>
              </p>
            )}
          </section>
          <Chart id={id} day={overview.day} />
          <Timeline id={id} asked={asked} {...overview.page} />
        </>
      )}
    </Page>
  )
}

function Session({ id, session, nowMs }: { id: string; session: SessionView; nowMs: number }) {
  const { state, owner, probe, setAt, lastUsedAt, lastRejectedAt, expiresAt, generation, cookies } = session
  const todo = whatToDo(session, nowMs)
  return (
    <section class="card" aria-labelledby="session">
      <div class="title">
        <h2 id="session">Session with the platform</h2>
        <Chip mood={stateMoods[state] ?? 'plain'}>{state}</Chip>
      </div>
      <div class={`todo ${todo.mood}`}>
        <p>{todo.words}</p>
        {todo.set && <pre>{setCommand(id)}</pre>}
      </div>
      <dl class="facts">
        <div>
          <dt>Set</dt>
          <dd>
            <Aged at={setAt} nowMs={nowMs} />
          </dd>
        </div>
        <div>
          <dt>Last used</dt>
          <dd>
            <Aged at={lastUsedAt} nowMs={nowMs} />
          </dd>
        </div>
        <div>
          <dt>Last refused by the platform</dt>
          <dd>
            <Aged at={lastRejectedAt} nowMs={nowMs} />
          </dd>
        </div>
        <div>
          <dt>Ends</dt>
          <dd>{expiresAt === null ? 'not known' : <Aged at={expiresAt} nowMs={nowMs} />}</dd>
        </div>
        <div>
          <dt>Whose</dt>
          <dd>{owner ?? 'not said'}</dd>
        </div>
        <div>
          <dt>Generation</dt>
          <dd>
            {generation}
            {cookies.length > 0 && <span class="muted">{` (cookies: ${cookies.join(', ')})`}</span>}
          </dd>
        </div>
        <div>
          <dt>Probe, read hourly</dt>
          <dd>
            {probe ? (
              <>
                <span class="id">{probe.connectionId}</span> {probe.version}
              </>
            ) : (
              'none'
            )}
          </dd>
        </div>
      </dl>
    </section>
  )
}

const soonMs = 7 * 86_400_000

function whatToDo(
  { state, owner, expiresAt, probe, lastUsedAt }: SessionView,
  nowMs: number,
): { mood: string; words: string | ReturnType<typeof Instant>; set?: boolean } {
  const signIn = `Sign in to the platform${owner ? ` as ${owner}` : ''} in a browser, copy the cookie and have an admin set it:`
  if (state === 'missing') {
    const words = `There is no session, so nothing can be read or updated: callers get 503. ${signIn}`
    return { mood: 'doubt', words, set: true }
  }
  if (state === 'rejected') {
    const words = `The platform no longer accepts the session, so callers get 503. ${signIn}`
    return { mood: 'bad', words, set: true }
  }
  const leftMs = expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt) - nowMs
  if (leftMs <= 0)
    return {
      mood: 'doubt',
      words: `It should have ended, and the platform still accepts it. ${signIn}`,
      set: true,
    }
  if (leftMs < soonMs) return { mood: 'doubt', words: `It ends in ${span(leftMs)}. ${signIn}`, set: true }
  if (lastUsedAt === null && !probe) {
    return {
      mood: 'plain',
      words: 'It was never used, so nobody knows whether the platform accepts it. A read would tell.',
    }
  }
  return { mood: 'good', words: 'There is nothing to do.' }
}

/** `id` is letters, digits, - and _ alone. */
function setCommand(id: string): string {
  return `curl -sS -X PUT "$GATEWAY/admin/organisations/${id}/session" \\
  -H "Authorization: Bearer $ADMIN" -H 'Content-Type: application/json' \\
  --data-binary @session.json      # { "cookie": "…" }`
}
