/**
 * Owns what an update would change, where the version is read before it: merges a patch into it, and compares field by
 * field. Pure. What it says holds for the instant of that read.
 */
import { type FieldError, ok, type Result, refuse } from '../errors.ts'
import { connectionVersion, fieldErrors, serialise, type Update } from './connection-version.ts'
import { versionIn } from './etag.ts'
import { mergePatch } from './merge-patch.ts'
import { type WritableField, writableFields } from './writable.ts'

/** Field by field, what it is and what it would be; null where there is none. */
export type Change = Partial<Record<WritableField, { from: unknown; to: unknown }>>

export interface Proposal {
  update: Update
  change: Change
}

/** An update, or a patch of the version that is held, as what it would change. Its name is still to be allowed. */
export function propose(held: string, wanted: { update: Update } | { patch: string }): Result<Proposal> {
  const before = versionIn(held)
  if ('update' in wanted) {
    return ok({ update: wanted.update, change: changeOf(before, JSON.parse(wanted.update.body)) })
  }
  if (!connectionVersion.safeParse(before).success) {
    const detail = 'The answer of the platform is no version that could be patched.'
    return refuse({ code: 'upstream-invalid-response', detail })
  }
  const merged = mergePatch(before, JSON.parse(wanted.patch))
  const parsed = connectionVersion.safeParse(merged)
  const fields = parsed.success ? readOnlyErrors(before, parsed.data) : fieldErrors(parsed.error)
  if (!parsed.success || fields.length > 0) return refuse({ code: 'invalid-body', fields })
  return ok({ update: serialise(parsed.data), change: changeOf(before, parsed.data) })
}

/** The name that a body would give its version, if any: a scope must cover it before anything else is looked at. */
export function namesIn(body: string): string[] {
  const { name } = JSON.parse(body)
  return typeof name === 'string' ? [name] : []
}

/** What no patch of a version may hold: all of its fields are plain values, so nothing that is nested can be meant. */
export function patchErrors(patch: unknown): FieldError[] {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) {
    return [{ field: 'body', message: 'must be of type object' }]
  }
  return Object.entries(patch)
    .filter(([, value]) => typeof value === 'object' && value !== null)
    .map(([field]) => ({ field, message: 'must be a plain value or null' }))
}

function readOnlyErrors(before: Record<string, unknown>, after: Record<string, unknown>): FieldError[] {
  return ['id', 'createdAt', 'updatedAt', 'publishedAt']
    .filter(field => after[field] !== before[field])
    .map(field => ({ field, message: 'is read-only' }))
}

function changeOf(before: Record<string, unknown>, after: Record<string, unknown>): Change {
  const change: Change = {}
  for (const field of writableFields) {
    const { [field]: from = null } = before
    const { [field]: to = null } = after
    // No description is an empty one: the platform leaves it out.
    if ((from || null) !== (to || null)) change[field] = { from, to }
  }
  return change
}
