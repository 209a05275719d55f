// The data of the stand-in platform: the versions of each connection, and the rules by which an update is
// taken or refused. It never sees HTTP, cookies or faults.
import { createHash } from 'node:crypto'

export interface ConnectionVersion {
  id: string
  name: string
  description?: string
  isLatest: boolean
  isDefault: boolean
  createdAt: string
  updatedAt: string
  publishedAt: string | null
}

export interface PlatformError {
  code: string
  message: string
  fields?: { field: string; message: string }[]
  cause?: string
}

export interface Answer {
  status: number
  body: ConnectionVersion | PlatformError
}

export interface Target {
  organisationId: string
  connectionId: string
  version: string
}

type Connection = Pick<Target, 'organisationId' | 'connectionId'>
type Field = keyof ConnectionVersion
type Fields = NonNullable<PlatformError['fields']>

const READ_ONLY = ['id', 'createdAt', 'updatedAt', 'publishedAt'] as const
const RESERVED = ['default', 'latest']

export function refusal(
  status: number,
  code: string,
  message: string,
  more: Partial<PlatformError> = {},
): Answer {
  return { status, body: { code, message, ...more } }
}

export class Versions {
  #connections = new Map<string, ConnectionVersion[]>()

  /** The stored version itself, not a copy. `latest` and `default` address whatever carries that flag now. */
  find({ version, ...connection }: Target): ConnectionVersion | undefined {
    return this.#of(connection).find(one =>
      version === 'latest' ? one.isLatest : version === 'default' ? one.isDefault : one.name === version,
    )
  }

  read(target: Target): Answer {
    const found = this.find(target)
    return found ? { status: 200, body: { ...found } } : notFound(target)
  }

  /** All or nothing: a refused update leaves every version as it was. */
  update(target: Target, text: string): Answer {
    const decoded = decode(text)
    if ('status' in decoded) return decoded
    const sent = decoded.version
    const stored = this.find(target)
    if (!stored) return notFound(target)

    const changed = READ_ONLY.filter(field => !sameValue(field, sent[field], stored[field]))
    if (changed.length > 0) {
      const fields = changed.map(field => ({
        field,
        message: `is read-only and has the value ${stored[field]}`,
      }))
      return refusal(400, 'read_only_field', `read-only: ${changed.join(', ')}`, { fields })
    }
    if (RESERVED.includes(sent.name)) {
      const fields = [{ field: 'name', message: 'is reserved' }]
      return refusal(400, 'reserved_name', `the name ${sent.name} is reserved`, { fields })
    }
    const siblings = this.#of(target).filter(one => one !== stored)
    if (siblings.some(one => one.name === sent.name)) {
      return refusal(409, 'name_taken', `the connection already has a version named ${sent.name}`)
    }

    for (const sibling of siblings) {
      if (sent.isLatest) sibling.isLatest = false
      if (sent.isDefault) sibling.isDefault = false
    }
    stored.name = sent.name
    stored.isLatest = sent.isLatest
    stored.isDefault = sent.isDefault
    if (sent.description === undefined) delete stored.description
    else stored.description = sent.description
    // Two updates within one millisecond still get two times, in their order.
    stored.updatedAt = new Date(Math.max(Date.now(), Date.parse(stored.updatedAt) + 1)).toISOString()
    return { status: 200, body: { ...stored } }
  }

  seed({ organisationId, connectionId }: Connection, versions: readonly ConnectionVersion[]): void {
    this.#connections.set(keyOf({ organisationId, connectionId }), structuredClone([...versions]))
  }

  clear(): void {
    this.#connections.clear()
  }

  #of(connection: Connection): ConnectionVersion[] {
    const key = keyOf(connection)
    let versions = this.#connections.get(key)
    if (!versions) {
      versions = startingVersions(key)
      this.#connections.set(key, versions)
    }
    return versions
  }
}

function keyOf({ organisationId, connectionId }: Connection): string {
  return JSON.stringify([organisationId, connectionId])
}

function notFound({ version, connectionId }: Target): Answer {
  return refusal(404, 'not_found', `connection ${connectionId} has no version ${version}`)
}

function startingVersions(key: string): ConnectionVersion[] {
  const versions: Omit<ConnectionVersion, 'id'>[] = [
    {
      name: '1.3.0',
      description: 'Orders are fetched page by page',
      isLatest: false,
      isDefault: true,
      createdAt: '2026-08-03T09:12:44.318Z',
      updatedAt: '2026-08-05T14:02:10.007Z',
      publishedAt: '2026-08-05T14:02:10.007Z',
    },
    {
      name: '1.4.0',
      description: 'Refunds carry their tax lines',
      isLatest: true,
      isDefault: false,
      createdAt: '2026-10-19T08:30:00.120Z',
      updatedAt: '2026-10-21T16:45:31.900Z',
      publishedAt: '2026-10-21T16:45:31.900Z',
    },
    {
      name: '2026.11-rc',
      description: 'Release candidate, not yet published',
      isLatest: false,
      isDefault: false,
      createdAt: '2026-11-02T11:05:59.001Z',
      updatedAt: '2026-11-02T11:05:59.001Z',
      publishedAt: null,
    },
  ]
  return versions.map(version => ({ id: ulid(version.createdAt, key + version.name), ...version }))
}

/**
 * A ULID whose random part comes from `seed`: unlike from connection to connection, the same after a reset.
 */
function ulid(time: string, seed: string): string {
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
  let ms = Date.parse(time)
  let id = ''
  for (let i = 0; i < 10; i++, ms = Math.floor(ms / 32)) id = digits[ms % 32] + id
  for (const byte of createHash('sha256').update(seed).digest().subarray(0, 16)) id += digits[byte % 32]
  return id
}

/**
 * What Go's encoding/json would make of the text: keys match whatever their case, unknown ones are dropped.
 */
function decode(text: string): { version: ConnectionVersion } | Answer {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return refusal(400, 'malformed_json', 'the body is not JSON', { cause: String(error) })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return refusal(400, 'invalid_body', 'the body is not a JSON object')
  }
  const members = new Map(Object.entries(json).map(([key, value]) => [foldCase(key), value]))
  const version: Record<string, unknown> = {}
  const fields: Fields = []
  for (const [field, rule] of Object.entries(RULES)) {
    const value = members.get(foldCase(field))
    const problem = rule(value)
    if (problem) fields.push({ field, message: problem })
    else if (value !== undefined && !(field === 'description' && value === null)) version[field] = value
  }
  if (fields.length > 0)
    return refusal(400, 'invalid_body', 'the body is not a connection version', { fields })
  return { version: version as unknown as ConnectionVersion }
}

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? undefined : 'must be a string')
const flag = (value: unknown) => (typeof value === 'boolean' ? undefined : 'must be a boolean')
const dateTime = (value: unknown) =>
  typeof value === 'string' && DATE_TIME.test(value) && !Number.isNaN(Date.parse(value))
    ? undefined
    : 'must be an RFC 3339 date-time'
const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/

const RULES: Record<Field, (value: unknown) => string | undefined> = {
  id: text,
  name: text,
  description: value => (value === undefined || value === null || value === '' ? undefined : text(value)),
  isLatest: flag,
  isDefault: flag,
  createdAt: dateTime,
  updatedAt: dateTime,
  publishedAt: value => (value === null ? undefined : dateTime(value)),
}

/** encoding/json folds these keys like Unicode does, where U+017F is an s. */
function foldCase(key: string): string {
  return key.toLowerCase().replaceAll('\u017f', 's')
}

/**
 * Times are equal when they are the same instant, to the last digit, in whatever offset they were written.
 */
function sameValue(field: Field, a: unknown, b: unknown): boolean {
  if (field === 'id' || typeof a !== 'string' || typeof b !== 'string') return a === b
  return instant(a) === instant(b)
}

function instant(dateTime: string): string {
  const [, fraction = ''] = /\.(\d+)/.exec(dateTime) ?? []
  return `${Date.parse(dateTime.replace(/\.\d+/, ''))}.${fraction.replace(/0+$/, '')}`
}
