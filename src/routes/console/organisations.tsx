/** Owns the page that lists the organisations: how each one's session stands, and what failed there last. */
import type { Reader } from '../../auth/admin.ts'
import type { Summary } from '../../organisation/directory.ts'
import type { Failure } from '../../organisation/outcome-table.ts'
import { Chip, Instant, Outcome, Page, pathOf, stateMoods } from './frame.tsx'

/** An organisation of the list; `failure` is undefined where its object gave no answer. */
export interface Listed extends Summary {
  failure: Failure | null | undefined
}

export function OrganisationsPage(props: {
  reader: Reader
  organisations: Listed[]
  /** Whether this is a later page of the list. */
  paged: boolean
  next: string | null
}) {
  const { reader, organisations, paged, next } = props
  return (
    <Page title="Organisations" reader={reader}>
      <h1>Organisations</h1>
      <div class="card">
        {organisations.length === 0 ? (
          <p class="empty">
            {paged
              ? 'There are no more organisations.'
              : 'There are no organisations yet. One appears here with its first session or token, which an admin sets through /admin.'}
          </p>
        ) : (
          <table class="stack">
            <thead>
              <tr>
                <th scope="col">Organisation</th>
                <th scope="col">Session</th>
                <th scope="col">Last failure</th>
                <th scope="col" class="number">
                  Active tokens
                </th>
                <th scope="col" class="number">
                  Storage
                </th>
              </tr>
            </thead>
            <tbody>
              {organisations.map(each => (
                <tr>
                  <th scope="row" class="id">
                    <a href={pathOf(each.organisationId)}>{each.organisationId}</a>
                  </th>
                  <td>
                    <Chip
                      mood={stateMoods[each.sessionState] ?? 'plain'}
                    >{`session ${each.sessionState}`}</Chip>
                  </td>
                  <td data-label="Last failure">
                    <LastFailure {...each} />
                  </td>
                  <td class="number" data-label="Active tokens">
                    {each.tokens}
                  </td>
                  <td class="number nowrap" data-label="Storage">
                    {(each.bytes / 1_000_000).toFixed(1)} MB
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {(paged || next) && (
          <p class="pages">
            {paged && <a href="/console">To the first</a>}
            {next && <a href={`/console?after=${encodeURIComponent(next)}`}>More organisations</a>}
          </p>
        )}
      </div>
    </Page>
  )
}

function LastFailure({ organisationId, failure }: Listed) {
  if (failure === undefined) return <span class="muted">gives no answer now</span>
  if (failure === null) return <span class="muted">none</span>
  return (
    <>
      <a href={pathOf(organisationId, `/records/${failure.seq}`)}>
        <Instant at={failure.time} />
      </a>{' '}
      <span class="nowrap">
        {failure.event.split('.')[0]} <Outcome event={failure.event} />
      </span>
    </>
  )
}
