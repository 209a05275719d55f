/** Owns the pages of an organisation's hooks, and of what one of them was sent. Neither a secret nor an event comes here. */
import type { Reader } from '../../auth/admin.ts'
import type { DeliveryPage } from '../../organisation/console-reader.ts'
import { type DeliveryState, deliveryStates } from '../../organisation/deliveries.ts'
import type { HookView } from '../../organisation/hooks.ts'
import { Aged, Chip, Instant, Message, Page, pathOf } from './frame.tsx'

const moods = { pending: 'doubt', done: 'good', dead: 'bad', ignored: 'plain' } as const

export function HooksPage(props: { reader: Reader; id: string; hooks: HookView[]; nowMs: number }) {
  const { reader, id, hooks, nowMs } = props
  return (
    <Page title={`Hooks of ${id}`} reader={reader} organisation={{ id, tab: 'hooks' }}>
      <h1>Hooks</h1>
      <div class="card">
        {hooks.length === 0 ? (
          <p class="empty">This organisation has no hooks. An admin makes them through /admin.</p>
        ) : (
          <table class="stack">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Deliveries</th>
                <th scope="col">Connection and version</th>
                <th scope="col">Believes</th>
                <th scope="col">After a failure</th>
                <th scope="col">Made</th>
              </tr>
            </thead>
            <tbody>
              {hooks.map(hook => (
                <tr>
                  <th scope="row">
                    <a href={pathOf(id, `/hooks/${hook.id}`)}>{hook.name}</a>
                    <br />
                    <span class="id muted">{hook.id}</span>
                  </th>
                  <td>
                    <Chip mood={hook.dead > 0 ? 'bad' : 'plain'}>{`${hook.dead} dead`}</Chip>{' '}
                    <Chip mood={hook.pending > 0 ? 'doubt' : 'plain'}>{`${hook.pending} pending`}</Chip>
                  </td>
                  <td>
                    <span class="id">{hook.connectionId}</span> {hook.version}
                  </td>
                  <td data-label="Believes">
                    {hook.verification.type === 'token'
                      ? 'a token of the gateway'
                      : `signatures: ${hook.verification.type}`}
                  </td>
                  <td data-label="After a failure">
                    {hook.onFailure === 'block' ? 'later ones wait' : 'later ones go on'}
                  </td>
                  <td data-label="Made">
                    <Aged at={hook.createdAt} nowMs={nowMs} /> by {hook.createdBy}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
    </Page>
  )
}

interface DeliveriesProps extends DeliveryPage {
  reader: Reader
  id: string
  state: DeliveryState | undefined
  /** Whether this is a later page of the list. */
  paged: boolean
  nowMs: number
}

export function DeliveriesPage({ reader, id, hook, deliveries, next, state, paged, nowMs }: DeliveriesProps) {
  const link = (wanted: string | undefined, before?: number) => {
    const search = new URLSearchParams({
      ...(wanted ? { state: wanted } : {}),
      ...(before ? { before: String(before) } : {}),
    }).toString()
    return pathOf(id, `/hooks/${hook.id}${search && `?${search}`}`)
  }
  const current = (each: string | undefined) => (each === state ? 'true' : undefined)
  return (
    <Page title={`Deliveries of ${hook.name}`} reader={reader} organisation={{ id, tab: 'hooks' }}>
      <h1>{hook.name}</h1>
      <section class="card" aria-labelledby="deliveries">
        <h2 id="deliveries">Deliveries</h2>
        <p class="quick">
          {[undefined, ...deliveryStates].map(each => (
            <a href={link(each)} aria-current={current(each)}>
              {each ?? 'all'}
            </a>
          ))}
        </p>
        {deliveries.length === 0 ? (
          <p class="empty">{state || paged ? 'No delivery matches.' : 'This hook was sent nothing yet.'}</p>
        ) : (
          <table class="stack">
            <thead>
              <tr>
                <th scope="col">Received</th>
                <th scope="col">State</th>
                <th scope="col">Connection and version</th>
                <th scope="col">Tries</th>
                <th scope="col">Next try, or end</th>
                <th scope="col">Records</th>
              </tr>
            </thead>
            <tbody>
              {deliveries.map(each => (
                <tr>
                  <td>
                    <Instant at={each.receivedAt} />
                  </td>
                  <td>
                    <Chip mood={moods[each.state]}>{each.state}</Chip>
                  </td>
                  <td>
                    <span class="id">{each.connectionId}</span> {each.version}
                  </td>
                  <td data-label="Tries">
                    {each.tries}
                    {each.lastFailure && <span class="muted">{` ${each.lastFailure}`}</span>}
                  </td>
                  <td data-label={each.nextAt ? 'Next try' : 'End'}>
                    {each.nextAt || each.endedAt ? (
                      <Aged at={each.nextAt ?? each.endedAt} nowMs={nowMs} />
                    ) : (
                      '–'
                    )}
                  </td>
                  <td data-label="Records">
                    <RecordLinks id={id} seqs={[each.receivedSeq, each.closedSeq]} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {(paged || next !== null) && (
          <nav class="pages" aria-label="Pages of the deliveries">
            {paged && <a href={link(state)}>Newest deliveries</a>}
            {next !== null && (
              <a rel="next" href={link(state, next)}>
                Older deliveries
              </a>
            )}
          </nav>
        )}
      </section>
    </Page>
  )
}

function RecordLinks({ id, seqs }: { id: string; seqs: (number | null)[] }) {
  return (
    <>
      {seqs.map(seq =>
        seq === null ? null : (
          <>
            <a href={pathOf(id, `/records/${seq}`)} aria-label={`Record ${seq}`}>
              {seq}
            </a>{' '}
          </>
        ),
      )}
    </>
  )
}

export function NoHookPage({ reader, id }: { reader: Reader; id: string }) {
  return (
    <Message title="No such hook" reader={reader}>
      <p>
        There is no hook with this id. <a href={pathOf(id, '/hooks')}>To the hooks</a>
      </p>
    </Message>
  )
}
