/**
 * Owns the page of one record: with those of the same attempt, what changed as a diff, what was sent, and where its receipt
 * is. Whatever a caller put into it is shown as text.
 */
import type { Reader } from '../../auth/admin.ts'
import { toHex } from '../../crypto.ts'
import type { Trail } from '../../organisation/console-reader.ts'
import { Instant, Outcome, Page, pathOf } from './frame.tsx'
import { Actor, reasonWords, type Shown, Target } from './timeline.tsx'

export function RecordPage({ reader, id, trail }: { reader: Reader; id: string; trail: Trail }) {
  const record: Shown = JSON.parse(trail.record)
  const attempt: Shown[] = trail.attempt.map(each => JSON.parse(each))
  const together = attempt.length > 0 ? attempt : [record]
  const change = together.find(each => each.change)?.change
  const request = record.request ?? together.find(each => each.request)?.request
  const body = together.find(each => each.request?.body !== undefined)?.request?.body
  const { connectionId, tokenId, hookId } = record.target
  const about = connectionId ? 'Connection and version' : tokenId ? 'Token' : hookId ? 'Hook' : undefined
  const key = together.find(each => each.request?.idempotencyKey !== undefined)?.request?.idempotencyKey
  const last = together.findLast(({ event }) => /\.(succeeded|failed|unknown|reconciled)$/.test(event))
  return (
    <Page title={`Record ${record.seq} of ${id}`} reader={reader} organisation={{ id, tab: 'record' }}>
      <div class="title">
        <h1>{`Record ${record.seq}: ${record.event}`}</h1>
        <Outcome event={record.event} applied={record.applied} />
      </div>
      <section class="card" aria-labelledby="facts">
        <h2 id="facts">What it says</h2>
        <dl class="facts">
          <Fact term="Time">
            <Instant at={record.time} />
          </Fact>
          <Fact term="Who">
            <Actor actor={record.actor} />
          </Fact>
          {about && (
            <Fact term={about}>
              <Target target={record.target} />
            </Fact>
          )}
          {reasonWords(record) !== '' && <Fact term="Why">{reasonWords(record)}</Fact>}
          {last && last.seq !== record.seq && (
            <Fact term="How it ended">
              <Outcome event={last.event} applied={last.applied} />
            </Fact>
          )}
          {record.outcome && <Fact term="Effect on the platform">{record.outcome}</Fact>}
          {record.client?.ip && <Fact term="From">{record.client.ip}</Fact>}
          {record.client?.userAgent && <Fact term="Called itself">{record.client.userAgent}</Fact>}
          {record.requestId && <Fact term="Request id">{record.requestId}</Fact>}
          {record.fields && <Fact term="Fields that were wrong">{record.fields.join(', ')}</Fact>}
          {key !== undefined && <Fact term="Idempotency key">{key}</Fact>}
        </dl>
        <p>
          <a href={`${pathOf(id)}?before=${record.seq + 1}#timeline`}>See it in the timeline</a>
        </p>
      </section>
      {attempt.length > 0 && (
        <section class="card" aria-labelledby="attempt">
          <h2 id="attempt">From attempt to outcome</h2>
          <ol class="steps">
            {attempt.map(step => (
              <Step id={id} step={step} here={step.seq === record.seq} />
            ))}
          </ol>
        </section>
      )}
      {change && <Change change={change} />}
      {request && (
        <section class="card" aria-labelledby="sent">
          <h2 id="sent">What was asked for</h2>
          <p class="small muted">
            {request.bytes} bytes, SHA-256 <code>{request.sha256}</code>
          </p>
          {body === undefined ? (
            <p class="muted">The log holds the body by size and digest alone.</p>
          ) : (
            <pre>{JSON.stringify(body, null, 2)}</pre>
          )}
        </section>
      )}
      <section class="card" aria-labelledby="receipt">
        <h2 id="receipt">Receipt</h2>
        <p class="small">
          <code>{`${record.seq}:${toHex(trail.leaf)}`}</code>
        </p>
        <p>
          <a
            href={pathOf(id, `/records/${record.seq}/receipt`)}
            download={`receipt-${id}-${record.seq}.json`}
          >
            Download the receipt document
          </a>
        </p>
        <details open={attempt.length === 0}>
          <summary>The whole record</summary>
          <pre>{JSON.stringify(record, null, 2)}</pre>
        </details>
      </section>
    </Page>
  )
}

function Fact({ term, children }: { term: string; children?: unknown }) {
  return (
    <div>
      <dt>{term}</dt>
      <dd>{children as string}</dd>
    </div>
  )
}

function Step({ id, step, here }: { id: string; step: Shown; here: boolean }) {
  const { status, durationMs, attempts } = step.upstream ?? {}
  const words = [
    step.reason,
    status === undefined ? undefined : `the platform answered ${status}`,
    durationMs === undefined ? undefined : `after ${durationMs} ms`,
    attempts === undefined || attempts < 2 ? undefined : `${attempts} tries`,
  ].filter(each => each !== undefined)
  return (
    <li class={here ? 'here' : undefined} aria-current={here ? 'true' : undefined}>
      <Instant at={step.time} /> <Outcome event={step.event} applied={step.applied} />{' '}
      {here ? (
        <span class="muted">this record</span>
      ) : (
        <a href={pathOf(id, `/records/${step.seq}`)}>{`record ${step.seq}`}</a>
      )}
      <br />
      <span class="muted">
        <Actor actor={step.actor} />
        {words.length > 0 && ` · ${words.join(', ')}`}
      </span>
    </li>
  )
}

function Change({ change }: { change: NonNullable<Shown['change']> }) {
  return (
    <section class="card" aria-labelledby="change">
      <h2 id="change">What changed</h2>
      <table class="diff stack">
        <thead>
          <tr>
            <th scope="col">Field</th>
            <th scope="col">Before</th>
            <th scope="col">After</th>
          </tr>
        </thead>
        <tbody>
          {Object.entries(change).map(([field, { from, to }]) => (
            <tr>
              <th scope="row">{field}</th>
              <td data-label="Before">
                <del>{valueWords(from)}</del>
              </td>
              <td data-label="After">
                <ins>{valueWords(to)}</ins>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

/** A value as JSON has it: a text is told from a word such as true. */
function valueWords(value: unknown): string {
  return value === undefined ? 'not there' : JSON.stringify(value)
}
