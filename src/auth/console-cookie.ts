/**
 * Owns the console's cookie: who logged in, until when, and an HMAC under a key of the secret that was presented, so that
 * changing that secret logs out whoever used it. Never valid anywhere else, and never holds the secret. Pure.
 */
import { deriveKey, equalDigests, hmacSha256, sha256 } from '../crypto.ts'
import type { Holders, Reader } from './admin.ts'

/**
 * RFC 6265bis, section 4.1.3.2: with this prefix a browser takes the cookie only from this very host, over TLS or from
 * itself, and for every path; a neighbouring subdomain can set none.
 */
export const consoleCookie = '__Host-console'
const lifetimeMs = 8 * 3_600_000

/** Someone who has logged in to the console; `loggedInAt` in milliseconds since 1970. */
export interface Visitor extends Reader {
  loggedInAt: number
}

/** A Set-Cookie header by which a reader is logged in for eight hours. `digest`: of the secret that was presented. */
export function loginCookie({ role, name, digest }: Reader & { digest: Uint8Array }, nowMs: number): string {
  const claim = `${role}:${name}:${nowMs + lifetimeMs}`
  return setCookie(`${claim}:${macOf(claim, digest)}`, lifetimeMs / 1000)
}

/** A Set-Cookie header that takes the cookie away. */
export const logoutCookie = setCookie('', 0)

/** Who a Cookie header says is logged in, if its word is good. */
export function visitorOf(header: string | undefined, holders: Holders, nowMs: number): Visitor | undefined {
  const pairs = (header ?? '').split(';').map(each => each.trim())
  const found = pairs.filter(each => each.startsWith(`${consoleCookie}=`))
  // A browser sends one; of two, one is somebody else's.
  if (found.length !== 1) return undefined
  const value = found[0]?.slice(consoleCookie.length + 1) ?? ''
  const parts = /^((admin|auditor):([A-Za-z0-9._-]{1,64}):(\d{1,15})):([A-Za-z0-9+/=]{44})$/.exec(value)
  if (!parts) return undefined
  const [, claim = '', role, name = '', expires, mac = ''] = parts
  const expiresAt = Number(expires)
  if (nowMs >= expiresAt || expiresAt > nowMs + lifetimeMs) return undefined
  const entries = role === 'admin' ? holders.admins : holders.auditors
  const presented = sha256(mac)
  // Two secrets may bear one name while they are being changed.
  const good = entries.filter(entry => {
    return equalDigests(sha256(macOf(claim, entry.digest)), presented) && entry.name === name
  })
  if (good.length === 0) return undefined
  return { role: role as Reader['role'], name, loggedInAt: expiresAt - lifetimeMs }
}

function macOf(claim: string, digest: Uint8Array): string {
  return hmacSha256(deriveKey(digest, 'console'), claim)
}

function setCookie(value: string, maxAgeSeconds: number): string {
  return `${consoleCookie}=${value}; Path=/; Max-Age=${maxAgeSeconds}; Secure; HttpOnly; SameSite=Strict`
}
