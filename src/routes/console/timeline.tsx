/** Owns the timeline: the form that narrows the log, and a page of its records, newest first. */

import { type Asked, type FilterName, type Filters, filterNames, searchOf } from './filters.ts'
import { Instant, Outcome, pathOf } from './frame.tsx'

/** What is shown of a record; everything a caller chose in it is text and nothing else. */
export interface Shown {
  seq: number
  time: string
  event: string
  actor: { type: string; id?: string; name?: string; claimedId?: string }
  target: { connectionId?: string; version?: string; tokenId?: string; hookId?: string }
  requestId?: string
  client?: { ip?: string; userAgent?: string }
  attempt?: number
  request?: { sha256: string; bytes: number; idempotencyKey?: string; body?: unknown }
  change?: Record<string, { from?: unknown; to?: unknown }>
  upstream?: { status?: number; durationMs?: number; attempts?: number }
  outcome?: string
  applied?: boolean | null
  reason?: string
  fields?: string[]
  count?: number | null
}

const kinds: [event: string, words: string][] = [
  ['update.*', 'updates'],
  ['read.*', 'reads'],
  ['session.*', 'the session'],
  ['token.*', 'tokens'],
  ['hook.*', 'hooks'],
  ['webhook.*', 'what hooks were sent'],
  ['admin.*', 'wrong secrets'],
  ['denials.*', 'sums of refusals'],
  ['audit.*', 'exports'],
  ['console.*', 'openings of the console'],
]
const outcomes = [
  'succeeded',
  'failed',
  'unknown',
  'reconciled',
  'unchanged',
  'replayed',
  'denied',
  'rejected',
  'dead',
]
const labels: Record<FilterName, string> = {
  event: 'About',
  outcome: 'Outcome',
  actor: 'Actor (id)',
  connectionId: 'Connection (id)',
  version: 'Version',
  since: 'From, UTC',
  until: 'Until, UTC',
}

const quick: [words: string, filters: Filters][] = [
  ['Failed updates', { event: 'update.*', outcome: 'failed' }],
  ['Unknown updates', { event: 'update.*', outcome: 'unknown' }],
  ['Denied', { outcome: 'denied' }],
  ['Rejected', { outcome: 'rejected' }],
  ['Session', { event: 'session.*' }],
]

export function Timeline(props: { id: string; asked: Asked; records: string[]; next: number | null }) {
  const { id, asked, records, next } = props
  const { before: _, ...filters } = asked.filters
  const link = (filters: Filters) => `${pathOf(id)}${searchOf(filters)}#timeline`
  const filtered = Object.keys(filters).length > 0
  return (
    <section class="card" aria-labelledby="timeline">
      <h2 id="timeline">Timeline</h2>
      <p class="quick">
        {quick.map(([words, filters]) => (
          <a href={link(filters)}>{words}</a>
        ))}
      </p>
      <search aria-label="Records">
        <form method="get" action={`${pathOf(id)}#timeline`}>
          <div class="filters">
            {filterNames.map(name => (
              <div>
                <label for={name}>{labels[name]}</label>
                <Field name={name} value={filters[name] ?? ''} />
              </div>
            ))}
            <div class="actions">
              <button class="main" type="submit">
                Filter
              </button>
              {filtered && <a href={link({})}>Show all</a>}
            </div>
          </div>
        </form>
      </search>
      {asked.wrong.map(({ field, message }) => (
        <p class="notice" role="alert">
          {`${labels[field as FilterName] ?? field} ${message}.`}
        </p>
      ))}
      {records.length === 0 ? (
        <p class="empty">{emptyWords(asked, filtered, next)}</p>
      ) : (
        <Records id={id} records={records.map(each => JSON.parse(each))} />
      )}
      {(asked.filters.before || next !== null) && (
        <nav class="pages" aria-label="Pages of the timeline">
          {asked.filters.before && <a href={link(filters)}>Newest records</a>}
          {next !== null && (
            <a rel="next" href={link({ ...filters, before: String(next) })}>
              Older records
            </a>
          )}
        </nav>
      )}
    </section>
  )
}

function emptyWords({ wrong, filters }: Asked, filtered: boolean, next: number | null): string {
  if (wrong.length > 0) return 'Nothing was looked for.'
  if (next !== null) return 'None of the records that were looked at matches. Older ones may.'
  if (filters.before) return filtered ? 'No older record matches.' : 'There are no older records.'
  return filtered ? 'No record matches.' : 'There are no records yet.'
}

function Field({ name, value }: { name: FilterName; value: string }) {
  if (name === 'event' || name === 'outcome') {
    const known = name === 'event' ? kinds : outcomes.map(each => [each, each] as const)
    const options = value && !known.some(([option]) => option === value) ? [...known, [value, value]] : known
    return (
      <select id={name} name={name}>
        <option value="">{name === 'event' ? 'everything' : 'any'}</option>
        {options.map(([option, words]) => (
          <option value={option} selected={option === value}>
            {words}
          </option>
        ))}
      </select>
    )
  }
  if (name !== 'since' && name !== 'until') {
    return <input id={name} name={name} value={value} maxlength={255} autocomplete="off" />
  }
  // An instant in UTC as the field takes it; any other is shown as it was asked for.
  const local = /^(\d{4}-\d\d-\d\dT\d\d:\d\d)(?::00(?:\.0+)?)?Z?$/.exec(value)?.[1]
  return value && !local ? (
    <input id={name} name={name} value={value} />
  ) : (
    <input id={name} name={name} type="datetime-local" value={local ?? ''} />
  )
}

function Records({ id, records }: { id: string; records: Shown[] }) {
  return (
    <table class="stack flow">
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col">What</th>
          <th scope="col">Who</th>
          <th scope="col">Connection and version</th>
          <th scope="col">Why</th>
          <th scope="col" class="number">
            Record
          </th>
        </tr>
      </thead>
      <tbody>
        {records.map(record => (
          <tr>
            <td>
              <Instant at={record.time} />
            </td>
            <td>
              {record.event.split('.')[0]} <Outcome event={record.event} applied={record.applied} />
            </td>
            <td>
              <Actor actor={record.actor} />
            </td>
            <td>
              <Target target={record.target} />
            </td>
            <td>{reasonWords(record)}</td>
            <td class="number">
              <a href={pathOf(id, `/records/${record.seq}`)} aria-label={`Record ${record.seq}`}>
                {record.seq}
              </a>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

/** Who did it: by name where there is one. */
export function Actor({ actor: { type, id, name, claimedId } }: { actor: Shown['actor'] }) {
  if (type === 'gateway') return <>the gateway</>
  if (type === 'anonymous') {
    return claimedId ? (
      <>
        anonymous, claiming <span class="id">{claimedId}</span>
      </>
    ) : (
      <>anonymous</>
    )
  }
  return (
    <>
      {name ?? id} <span class="muted">({type})</span>
    </>
  )
}

/** What it was about; nothing where the organisation as a whole is meant. */
export function Target({ target: { connectionId, version, tokenId, hookId } }: { target: Shown['target'] }) {
  const id = connectionId ?? tokenId ?? hookId
  if (id === undefined) return null
  return (
    <>
      <span class="id">{id}</span>
      {version !== undefined && <> {version}</>}
    </>
  )
}

/** Why it ended so, in the record's own words. */
export function reasonWords({ reason, upstream, count, event }: Shown): string {
  const words: string[] = []
  if (reason) words.push(reason)
  if (upstream?.status !== undefined && !event.endsWith('.succeeded'))
    words.push(`platform: ${upstream.status}`)
  if (count !== undefined) words.push(count === null ? 'an unknown number' : `${count} of them`)
  return words.join(', ')
}
