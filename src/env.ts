/**
 * Owns the bindings and secrets: turns them into one Config, once per isolate, and is the only reader of them.
 * Never falls back to less: a missing or malformed value is named, and no request runs on half a Config.
 */
import { equalDigests, fromBase64, Secret, SigningKey, sha256, toHex } from './crypto.ts'

/** One secret that may call /admin, or only read there; `name` is the actor in records. */
export interface AdminSecret {
  name: string
  digest: Uint8Array
}

export interface Config {
  /** `retryMs`: the base of the backoff between tries, and of the pauses between later looks. */
  upstream: { baseUrl: string; timeoutMs: number; retryMs: number }
  /** How much an organisation's object may hold. */
  storageBytes: number
  admins: readonly AdminSecret[]
  /** Who may read what admins may, and change nothing. */
  auditors: readonly AdminSecret[]
  /** The newest first; the second, if any, only opens what it once sealed. */
  sealingKeys: readonly [Secret, ...Secret[]]
  /** Signs checkpoints of the logs. */
  signingKey: SigningKey
  /** Holds the audit logs a second time. */
  archive: R2Bucket | undefined
  /** After how many days an object drops the bytes of records that the archive holds; undefined keeps them. */
  retentionDays: number | undefined
  /** Where alerts go, and what signs them. The URL's path may be as good as a password. */
  alerts: { url: Secret; secret: Secret } | undefined
  directory: Env['DIRECTORY']
  organisations: Env['ORGANISATION']
  /** Counts refused credentials by client address. */
  addressLimit: Env['ADDRESS_LIMIT']
  locationHint: DurableObjectLocationHint | undefined
}

/** Either a Config, or the names of the values that keep it from being one, and what is wrong with each. */
export type ConfigResult =
  | { ok: true; config: Config }
  | { ok: false; failing: readonly { name: string; problem: string }[] }

const production = 'https://platform.versori.com/api/connect/v1alpha1'
const jurisdictions: readonly DurableObjectJurisdiction[] = ['eu', 'fedramp', 'fedramp-high', 'us']
const locationHints: readonly DurableObjectLocationHint[] = [
  'wnam',
  'enam',
  'sam',
  'weur',
  'eeur',
  'apac',
  'apac-ne',
  'apac-se',
  'oc',
  'afr',
  'me',
]
/** RFC 8410, section 7: the DER of a PKCS #8 Ed25519 private key is this prefix and 32 bytes. */
const ed25519Prefix = '302e020100300506032b657004220420'
const known = new WeakMap<object, ConfigResult>()

/** The Config of this isolate's bindings. Values come as strings; an empty one is the same as none. */
export function readConfig(env: Env): ConfigResult {
  let result = known.get(env)
  if (!result) {
    result = parseConfig(env as unknown as Record<string, unknown>)
    known.set(env, result)
  }
  return result
}

type Parsed<T> = { value: T } | { problem: string }

/** The rule behind readConfig, over a plain record. */
export function parseConfig(env: Record<string, unknown>): ConfigResult {
  const failing: { name: string; problem: string }[] = []
  function optional<T>(name: string, parse: (text: string) => Parsed<T>): T | undefined {
    const raw = env[name]
    if (raw === undefined || raw === null || raw === '') return undefined
    const parsed = typeof raw === 'string' ? parse(raw) : { problem: 'is not a string' }
    if ('value' in parsed) return parsed.value
    failing.push({ name, problem: parsed.problem })
    return undefined
  }
  function required<T>(name: string, parse: (text: string) => Parsed<T>): T | undefined {
    if ((env[name] ?? '') === '') failing.push({ name, problem: 'is not set' })
    return optional(name, parse)
  }
  function binding<T>(name: string): T {
    if (typeof env[name] !== 'object' || env[name] === null) failing.push({ name, problem: 'is not bound' })
    return env[name] as T
  }

  const baseUrl = optional('UPSTREAM_BASE_URL', parseBaseUrl) ?? production
  const timeoutMs = optional('UPSTREAM_TIMEOUT_MS', wholeNumber('milliseconds', 100, 120_000)) ?? 10_000
  const retryMs = optional('UPSTREAM_RETRY_MS', wholeNumber('milliseconds', 1, 10_000)) ?? 250
  const storageMb = optional('ORGANISATION_STORAGE_MB', wholeNumber('megabytes', 1, 10_000)) ?? 10_000
  const admins = required('ADMIN_TOKEN', text => parseHolders(text, 'admin'))
  const auditors = optional('AUDITOR_TOKEN', text => parseHolders(text, 'auditor', admins)) ?? []
  const sealingKey = required('SEALING_KEY', parseSealingKey)
  const previousKey = optional('SEALING_KEY_PREVIOUS', parseSealingKey)
  const signingKey = required('AUDIT_SIGNING_KEY', parseSigningKey)
  // Half of it would mean alerts that nobody gets, or that nobody can verify.
  const alerting = env.ALERT_WEBHOOK_URL || env.ALERT_WEBHOOK_SECRET ? required : optional
  const url = alerting('ALERT_WEBHOOK_URL', parseWebhookUrl)
  const secret = alerting('ALERT_WEBHOOK_SECRET', parseWebhookSecret)
  const jurisdiction = optional('ORGANISATION_JURISDICTION', oneOf(jurisdictions))
  const locationHint = optional('ORGANISATION_LOCATION_HINT', oneOf(locationHints))
  let organisations = binding<Env['ORGANISATION']>('ORGANISATION')
  let directory = binding<Env['DIRECTORY']>('DIRECTORY')
  const addressLimit = binding<Env['ADDRESS_LIMIT']>('ADDRESS_LIMIT')
  const archive = (env.AUDIT_ARCHIVE ?? '') === '' ? undefined : binding<R2Bucket>('AUDIT_ARCHIVE')
  const retentionDays = optional('AUDIT_RETENTION_DAYS', wholeNumber('days', 1, 36_500))
  if (failing.length === 0 && jurisdiction) {
    try {
      organisations = organisations.jurisdiction(jurisdiction)
      directory = directory.jurisdiction(jurisdiction)
    } catch {
      failing.push({ name: 'ORGANISATION_JURISDICTION', problem: 'is not supported by this runtime' })
    }
  }
  if (failing.length > 0 || !admins || !sealingKey || !signingKey) return { ok: false, failing }
  return {
    ok: true,
    config: {
      upstream: { baseUrl, timeoutMs, retryMs },
      storageBytes: storageMb * 1_000_000,
      admins,
      auditors,
      sealingKeys: previousKey ? [sealingKey, previousKey] : [sealingKey],
      signingKey,
      archive,
      retentionDays,
      alerts: url && secret && { url, secret },
      organisations,
      directory,
      addressLimit,
      locationHint,
    },
  }
}

function oneOf<T extends string>(allowed: readonly T[]): (text: string) => Parsed<T> {
  return text => {
    const value = allowed.find(each => each === text)
    return value ? { value } : { problem: `must be one of ${allowed.join(', ')}` }
  }
}

function parseBaseUrl(text: string): Parsed<string> {
  const parsed = parseSafeUrl(text)
  if ('problem' in parsed) return parsed
  const url = parsed.value
  if (url.username || url.password || url.search || url.hash || /[?#]/.test(text)) {
    return { problem: 'must be an origin and a path, without user, query or fragment' }
  }
  return { value: url.href.replace(/\/+$/, '') }
}

function parseSafeUrl(text: string): Parsed<URL> {
  if (!URL.canParse(text)) return { problem: 'is not a URL' }
  const url = new URL(text)
  const loopback =
    url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(\.\d+){3}$/.test(url.hostname)
  return url.protocol === 'https:' || (url.protocol === 'http:' && loopback)
    ? { value: url }
    : { problem: 'must be https (http on a loopback host only)' }
}

function parseWebhookUrl(text: string): Parsed<Secret> {
  const parsed = parseSafeUrl(text)
  if ('problem' in parsed) return parsed
  const url = parsed.value
  return url.username || url.password || text.includes('#')
    ? { problem: 'must have no user and no fragment' }
    : { value: new Secret(url.href) }
}

/** Standard Webhooks, "Signature scheme": a symmetric secret has 24 to 64 bytes. */
function parseWebhookSecret(text: string): Parsed<Secret> {
  const length = text.startsWith('whsec_') ? (fromBase64(text.slice(6))?.byteLength ?? 0) : 0
  return length >= 24 && length <= 64
    ? { value: new Secret(text) }
    : { problem: 'must be whsec_ and base64 of 24 to 64 bytes' }
}

function wholeNumber(unit: string, least: number, most: number): (text: string) => Parsed<number> {
  return text => {
    const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
    return value >= least && value <= most
      ? { value }
      : { problem: `must be a whole number of ${unit} from ${least} to ${most}` }
  }
}

/** `taken`: the secrets of another role, as one secret must not stand for two. */
function parseHolders(
  text: string,
  defaultName: string,
  taken: readonly AdminSecret[] = [],
): Parsed<AdminSecret[]> {
  const holders: AdminSecret[] = []
  // Problems count entries instead of naming them: GET /health is public, and a mistyped entry's name may be secret.
  for (const [index, part] of text.split(',').entries()) {
    const named = /^\s*([A-Za-z0-9._-]{1,64}):(.*?)\s*$/.exec(part)
    const secret = named?.[2] ?? part.trim()
    const digest = sha256(secret)
    if (secret.length < 32) return { problem: `entry ${index + 1} has fewer than 32 characters` }
    if (!/^[\x21-\x7e]*$/.test(secret)) {
      return { problem: `entry ${index + 1} has a space or a character beyond ASCII` }
    }
    if (holders.some(other => equalDigests(other.digest, digest))) {
      return { problem: `entry ${index + 1} repeats a secret` }
    }
    if (taken.some(other => equalDigests(other.digest, digest))) {
      return { problem: `entry ${index + 1} is a secret of ADMIN_TOKEN` }
    }
    holders.push({ name: named?.[1] ?? defaultName, digest })
  }
  return { value: holders }
}

function parseSealingKey(text: string): Parsed<Secret> {
  return fromBase64(text)?.byteLength === 32
    ? { value: new Secret(text) }
    : { problem: 'must be base64 of 32 bytes' }
}

function parseSigningKey(text: string): Parsed<SigningKey> {
  const der = fromBase64(text)
  const prefix = der?.byteLength === 48 ? toHex(der.subarray(0, 16)) : ''
  return der && prefix === ed25519Prefix
    ? { value: new SigningKey(der) }
    : { problem: 'must be an Ed25519 private key in PKCS #8, as base64' }
}
