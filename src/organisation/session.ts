/**
 * Owns the platform's session: its cookies, how it is sealed, what is shown of it, and how the platform
 * rotates it. Pure. Between here and upstream/headers.ts its value travels as a Secret.
 */
import type { Secret } from '../crypto.ts'
import type { NewSession } from './new-session.ts'
import { openSecret, sealSecret } from './sealing.ts'
import { instant } from './tokens.ts'

/** A session as it is stored. `sealed` is null once deleted; `generation` lives on, so that none is used twice. */
export interface SessionRow {
  generation: number
  /** The platform that it was set for. */
  baseUrl: string
  sealed: Uint8Array | null
  names: string[]
  setAt: number | null
  lastUsedAt: number | null
  rejected: boolean
  lastRejectedAt: number | null
  /** Who signed in to get it, in an admin's words. */
  owner: string | null
  expiresAt: number | null
  /** The version that tells whether the session still stands. */
  probe: Probe | null
}

/** A version that a session can read. */
export interface Probe {
  connectionId: string
  version: string
}

export const maxHeaderLength = 8192
const maxNameLength = 64
/** Of a cookie without a value: secrets are longer. */
const maxEmptyNameLength = 20
/** RFC 6265, section 4.2.1, but lenient in values: what the platform handed out is sent back as it is. */
const pair = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+=[\x21-\x3a\x3c-\x7e]*(?: +[\x21-\x3a\x3c-\x7e]+)*$/

/** The Cookie header to send, exactly as it was given. */
export function cookieHeaderOf(body: NewSession): string {
  return body.cookieHeader ?? `cookie=${body.cookie}`
}

/** The cookies of a Cookie header, in order. Values may hold `=`. */
export function cookiesOf(header: string): { name: string; value: string }[] {
  return splitHeader(header).map(each => {
    const at = each.indexOf('=')
    return { name: each.slice(0, at), value: each.slice(at + 1) }
  })
}

/** Whether a text is one or more `name=value` with `;` between them. */
export function isCookieHeader(text: string): boolean {
  return splitHeader(text).every(each => pair.test(each))
}

/** Whether no bare value was taken for the name of a cookie, which is shown: one in base64 may end in `=`. */
export function hasNamesAndValues(text: string): boolean {
  const cookies = cookiesOf(text)
  const named = ({ name, value }: { name: string; value: string }) =>
    name.length <= (value === '' ? maxEmptyNameLength : maxNameLength) && !/^[= ]+$/.test(value)
  return cookies.every(named) && cookies.some(({ value }) => value !== '')
}

function splitHeader(header: string): string[] {
  // Spaces alone: whatever else is around a pair is for the rule to refuse.
  return header.split(';').map(each => each.replace(/^ +| +$/g, ''))
}

/** Seals a Cookie header for one organisation and one platform (promise 3). */
export function sealSession(
  header: string,
  masterKey: Secret,
  organisationId: string,
  baseUrl: string,
): Uint8Array {
  return sealSecret(header, masterKey, 'session', [organisationId, baseUrl])
}

/**
 * The Cookie header in a session, with the number of the key that opened it: 0 is the newest, and anything else means
 * that it should be sealed anew. Undefined where no key opens it: another key, organisation or platform.
 */
export function openSession(
  sealed: Uint8Array,
  masterKeys: readonly Secret[],
  organisationId: string,
  baseUrl: string,
): { header: Secret; key: number } | undefined {
  const opened = openSecret(sealed, masterKeys, 'session', [organisationId, baseUrl])
  return opened && { header: opened.secret, key: opened.key }
}

/**
 * The Cookie header after an answer's Set-Cookie headers, or undefined where nothing changes. Only cookies that the
 * session already has are replaced, by non-empty values that may stand in a Cookie header: an answer can refresh a
 * session, neither grow it nor end it.
 */
export function rotateCookies(
  header: string,
  setCookies: readonly string[],
  nowMs: number,
): string | undefined {
  const cookies = cookiesOf(header)
  let changed = false
  for (const setCookie of setCookies) {
    const [first = '', ...attributes] = setCookie.split(';').map(each => each.trim())
    if (!pair.test(first) || expires(attributes, nowMs)) continue
    const at = first.indexOf('=')
    const value = first.slice(at + 1)
    for (const cookie of cookies) {
      if (cookie.name !== first.slice(0, at) || value === '' || cookie.value === value) continue
      cookie.value = value
      changed = true
    }
  }
  const rotated = cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  return changed && rotated.length <= maxHeaderLength ? rotated : undefined
}

/** Whether a Set-Cookie takes the cookie away: Max-Age decides over Expires (RFC 6265, section 5.3, step 3). */
function expires(attributes: readonly string[], nowMs: number): boolean {
  const last = (name: string) =>
    attributes.findLast(each => each.toLowerCase().startsWith(`${name}=`))?.slice(name.length + 1)
  const maxAge = last('max-age')
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) return Number(maxAge) <= 0
  return Date.parse(last('expires') ?? '') <= nowMs
}

/** What anyone may see of a session: never a value. */
export interface SessionView {
  state: 'missing' | 'active' | 'rejected'
  cookies: string[]
  generation: number
  owner: string | null
  expiresAt: string | null
  setAt: string | null
  lastUsedAt: string | null
  lastRejectedAt: string | null
  probe?: Probe
}

/** The state of a session for the platform that the gateway now points at; one set for another is missing. */
export function viewSession(row: SessionRow | undefined, baseUrl: string): SessionView {
  const present = row?.sealed != null && row.baseUrl === baseUrl
  return {
    state: !present ? 'missing' : row.rejected ? 'rejected' : 'active',
    cookies: present ? row.names : [],
    generation: row?.generation ?? 0,
    owner: present ? row.owner : null,
    expiresAt: present ? instant(row.expiresAt) : null,
    setAt: present ? instant(row.setAt) : null,
    lastUsedAt: present ? instant(row.lastUsedAt) : null,
    lastRejectedAt: present ? instant(row.lastRejectedAt) : null,
    ...(present && row.probe ? { probe: row.probe } : {}),
  }
}
