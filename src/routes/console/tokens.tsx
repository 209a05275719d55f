/** Owns the page that lists an organisation's tokens. Neither a token nor its digest comes here. */
import type { Reader } from '../../auth/admin.ts'
import type { TokenView } from '../../organisation/tokens.ts'
import { Aged, Chip, Page, pathOf, stateMoods } from './frame.tsx'

const maxShown = 500

export function TokensPage(props: { reader: Reader; id: string; tokens: TokenView[]; nowMs: number }) {
  const { reader, id, tokens, nowMs } = props
  const shown = tokens.slice(0, maxShown)
  return (
    <Page title={`Tokens of ${id}`} reader={reader} organisation={{ id, tab: 'tokens' }}>
      <h1>Tokens</h1>
      <div class="card">
        {shown.length === 0 ? (
          <p class="empty">This organisation has no tokens. An admin makes them through /admin.</p>
        ) : (
          <table class="stack">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Status</th>
                <th scope="col">Last used</th>
                <th scope="col">Expires</th>
                <th scope="col">May</th>
                <th scope="col">Made</th>
              </tr>
            </thead>
            <tbody>
              {shown.map(token => (
                <tr>
                  <th scope="row">
                    <a href={`${pathOf(id)}?actor=${encodeURIComponent(token.id)}#timeline`}>{token.name}</a>
                    <br />
                    <span class="id muted whole">{token.id}</span>
                  </th>
                  <td>
                    <Chip mood={stateMoods[token.status] ?? 'plain'}>{token.status}</Chip>
                  </td>
                  <td data-label="Last used">
                    <Aged at={token.lastUsedAt} nowMs={nowMs} />
                  </td>
                  <td data-label={token.revokedAt ? undefined : 'Expires'}>
                    {token.revokedAt && <span class="muted">revoked </span>}
                    <Aged at={token.revokedAt ?? token.expiresAt} nowMs={nowMs} />
                  </td>
                  <td class="lines scope">
                    <span>{token.actions.join(', ')}</span>
                    <span>connections: {token.connections.join(', ')}</span>
                    <span>versions: {token.versions.join(', ')}</span>
                    <span>
                      {token.rateLimit.requests} in {token.rateLimit.windowSeconds} s
                    </span>
                  </td>
                  <td data-label="Made">
                    <Aged at={token.createdAt} nowMs={nowMs} /> by {token.createdBy}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {tokens.length > maxShown && (
          <p class="muted">{`The newest ${maxShown} of ${tokens.length}: GET /admin/organisations/${id}/tokens lists them all.`}</p>
        )}
      </div>
    </Page>
  )
}
