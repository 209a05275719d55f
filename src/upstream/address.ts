/**
 * Owns where a request to the platform goes. Nothing that a caller sends chooses the origin, the path's shape or a
 * query (promise 6): ids are encoded into their places, and the result is read back before it is used.
 */

/**
 * The URL of a connection version. Throws where encoding did not hold the ids in their places: a bug, or an attack
 * that the rules for ids let through.
 */
export function versionUrl(
  baseUrl: string,
  {
    organisationId,
    connectionId,
    version,
  }: { organisationId: string; connectionId: string; version: string },
): string {
  const ids = [organisationId, connectionId, version].map(encodeURIComponent)
  const text = `${baseUrl}/o/${ids[0]}/connections/${ids[1]}/versions/${ids[2]}`
  const base = new URL(baseUrl)
  const url = new URL(text)
  const segments = url.pathname.slice(base.pathname === '/' ? 0 : base.pathname.length).split('/')
  const shape = ['', 'o', ids[0], 'connections', ids[1], 'versions', ids[2]]
  const kept =
    url.href === text &&
    url.origin === base.origin &&
    url.search === '' &&
    url.hash === '' &&
    segments.length === shape.length &&
    segments.every((segment, i) => segment === shape[i] && (i === 0 || segment !== ''))
  if (!kept) throw new Error('the upstream URL would not keep its shape')
  return text
}
