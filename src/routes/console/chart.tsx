/**
 * Owns the chart of the last 24 hours: drawn on the server, and said in a table as well, which is what a screen reader or a
 * keyboard gets.
 */
import type { Day, Hour } from '../../organisation/outcome-table.ts'
import { maxLookedAt } from '../../organisation/outcome-table.ts'
import { searchOf } from './filters.ts'
import { Instant, pathOf } from './frame.tsx'

type Ending = Exclude<keyof Hour, 'startsAt'>

/** From the ground up. */
const endings: [ending: Ending, mood: string][] = [
  ['succeeded', 'good'],
  ['refused', 'plain'],
  ['unknown', 'doubt'],
  ['failed', 'bad'],
]
const hourMs = 3_600_000
const height = 100

export function Chart({ id, day: { hours, countedSince } }: { id: string; day: Day }) {
  const total = (hour: Hour) => endings.reduce((sum, [ending]) => sum + hour[ending], 0)
  const most = Math.max(0, ...hours.map(total))
  const whole = hours.reduce((sum, hour) => sum + total(hour), 0)
  const link = ({ startsAt }: Hour) => {
    const [since, until] = [startsAt, startsAt + hourMs].map(ms => new Date(ms).toISOString().slice(0, 16))
    return `${pathOf(id)}${searchOf({ since: since ?? '', until: until ?? '' })}#timeline`
  }
  return (
    <section class="card" aria-labelledby="day">
      <h2 id="day">How requests ended in the last 24 hours</h2>
      {countedSince !== null && (
        <p class="muted">
          {`There were more than ${maxLookedAt.toLocaleString('en')} records: only the newest are counted, from `}
          <Instant at={countedSince} /> on.
        </p>
      )}
      {whole === 0 ? (
        <p class="empty">There were no requests.</p>
      ) : (
        <>
          <ul class="legend">
            {endings.map(([ending, mood]) => (
              <li>
                <svg viewBox="0 0 1 1" aria-hidden="true">
                  <rect class={mood} width="1" height="1" rx=".2" />
                </svg>
                {`${hours.reduce((sum, hour) => sum + hour[ending], 0).toLocaleString('en')} ${ending}`}
              </li>
            ))}
            <li class="muted">{`most in an hour: ${most.toLocaleString('en')}`}</li>
          </ul>
          <svg
            class="chart"
            viewBox={`0 0 ${hours.length} ${height}`}
            preserveAspectRatio="none"
            aria-hidden="true"
          >
            {hours.map((hour, index) => (
              <Bar hour={hour} index={index} most={most} href={total(hour) > 0 ? link(hour) : undefined} />
            ))}
          </svg>
          <p class="hours" aria-hidden="true">
            {[0, 6, 12, 18].map(index => (
              <span>{clock(hours[index]?.startsAt ?? 0)}</span>
            ))}
          </p>
          <details>
            <summary>The same as a table</summary>
            <table class="counts stack flow">
              <thead>
                <tr>
                  <th scope="col">Hour from, UTC</th>
                  {endings.map(([ending]) => (
                    <th scope="col" class="number">
                      {ending}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {hours.map(hour => (
                  <tr>
                    <th scope="row">
                      {total(hour) > 0 ? (
                        <a href={link(hour)}>
                          <Instant at={hour.startsAt} />
                        </a>
                      ) : (
                        <Instant at={hour.startsAt} />
                      )}
                    </th>
                    {endings.map(([ending]) => (
                      <td class="number" data-label={ending}>
                        {hour[ending]}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </details>
        </>
      )}
    </section>
  )
}

function Bar(props: { hour: Hour; index: number; most: number; href: string | undefined }) {
  const { hour, index, most, href } = props
  let top = height
  const parts = endings.flatMap(([ending, mood]) => {
    if (hour[ending] === 0) return []
    // One among thousands is still to be seen.
    const tall = Math.max(1.5, (hour[ending] / most) * (height - 6))
    top -= tall
    return [<rect class={mood} x={index + 0.12} y={top.toFixed(2)} width="0.76" height={tall.toFixed(2)} />]
  })
  if (href === undefined) return null
  const counts = endings.filter(([ending]) => hour[ending] > 0).map(([ending]) => `${hour[ending]} ${ending}`)
  return (
    <a href={href} tabindex={-1}>
      <title>{`${clock(hour.startsAt)} to ${clock(hour.startsAt + hourMs)}: ${counts.join(', ')}`}</title>
      {parts}
      <rect class="hour" x={index} y="0" width="1" height={height} />
    </a>
  )
}

function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 16)
}
