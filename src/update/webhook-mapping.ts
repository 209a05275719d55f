/**
 * Owns how an event becomes a merge patch of a version: what a hook may say of it, and what comes of one event. Pure. An
 * event is never trusted, and none of its values stands in what is said about a failure.
 */
import type { FieldError } from '../errors.ts'
import { connectionVersion, versionName } from './connection-version.ts'
import { checkExpression, type Expression, evaluate, type Scope } from './expression.ts'
import {
  expand,
  isTemplate,
  maxTextLength,
  parseTemplate,
  soleExpression,
  type Template,
  tooLong,
} from './template.ts'
import { type WritableField, writableFields } from './writable.ts'

/** What of a hook says how an event becomes a merge patch of a version. */
export interface Mapping {
  /** A version's name, or a template. */
  version: string
  /** Patterns (see auth/caller.ts matchesVersion) that version and name must match; undefined where neither is a template. */
  versions?: readonly string[] | undefined
  /** CEL over event and headers; left out, every event is mapped. */
  when?: string | undefined
  /** Of name, description, isLatest, isDefault: strings may be templates. */
  change: Readonly<Record<string, string | boolean | null>>
}

/** What an event becomes. `patch` is JSON (a merge patch), `problem.message` never repeats the event's values. */
export type Mapped =
  | { kind: 'change'; version: string; patch: string }
  | { kind: 'ignored' }
  | { kind: 'failed'; problem: FieldError }

const readOnly = ['id', 'createdAt', 'updatedAt', 'publishedAt']
const maxPatchBytes = 65_536

/** Everything that is wrong with a mapping when a hook is saved: [] where nothing is. */
export function mappingErrors(mapping: Mapping): FieldError[] {
  return compile(mapping).errors
}

/**
 * What an event (of parseEvent) becomes. A mapping that is no longer acceptable fails like an expression that does not fit
 * the event. `matches` is matchesVersion of auth/caller.ts; `forbidden` says whether a text holds what may not stand in the
 * log, a token of the gateway.
 */
export function mapEvent(
  mapping: Mapping,
  event: unknown,
  headers: Readonly<Record<string, string>>,
  matches: (pattern: string, version: string) => boolean,
  forbidden: (text: string) => boolean,
): Mapped {
  const { errors, when, version, change } = compile(mapping)
  const [error] = errors
  if (error || !version) return failed(error?.field ?? 'version', error?.message ?? 'must be given')
  const scope: Scope = { event, headers: new Map(Object.entries(headers)) }
  if (when) {
    const held = evaluate(when, scope)
    if (!held.ok) return failed('when', held.why)
    if (typeof held.value !== 'boolean') return failed('when', 'must yield true or false')
    if (!held.value) return { kind: 'ignored' }
  }
  const unmatched = (name: unknown) =>
    mapping.versions !== undefined && !mapping.versions.some(pattern => matches(pattern, String(name)))
  const path = expand(version, scope)
  if (!path.ok) return failed('version', path.why)
  const wrongPath = wrongValue('version', path.value)
  if (wrongPath) return failed('version', wrongPath)
  if (unmatched(path.value)) return failed('version', 'matches none of versions')
  const patch: Partial<Record<WritableField, unknown>> = {}
  for (const [field, wanted] of change) {
    const fixed = typeof wanted === 'boolean' || wanted === null
    const result = fixed ? { ok: true as const, value: wanted } : expand(wanted, scope)
    if (!result.ok) return failed(`change.${field}`, result.why)
    const wrong = wrongValue(field, result.value)
    if (wrong) return failed(`change.${field}`, wrong)
    if (field === 'name' && unmatched(result.value)) return failed('change.name', 'matches none of versions')
    patch[field] = result.value
  }
  const text = JSON.stringify(patch)
  if (Buffer.byteLength(text) > maxPatchBytes) {
    return failed('change', `must become at most ${maxPatchBytes} bytes of JSON`)
  }
  const name = String(path.value)
  if (forbidden(name)) return failed('version', 'must not hold a token of the gateway')
  if (forbidden(text)) return failed('change', 'must not hold a token of the gateway')
  return { kind: 'change', version: name, patch: text }
}

function failed(field: string, message: string): Mapped {
  return { kind: 'failed', problem: { field, message } }
}

/** A mapping as it can be applied, as far as nothing is wrong with it. */
interface Compiled {
  errors: FieldError[]
  when?: Expression
  version?: Template
  change: [WritableField, Template | boolean | null][]
}

function compile({ version, versions, when, change }: Mapping): Compiled {
  const errors: FieldError[] = []
  const compiled: Compiled = { errors, change: [] }
  if (when !== undefined) {
    const checked = checkExpression(when)
    if ('wrong' in checked) errors.push({ field: 'when', message: checked.wrong })
    else if (!['bool', 'dyn'].includes(checked.type)) errors.push(wrongType('when', 'bool', checked.type))
    else compiled.when = checked
  }
  const path = compileText('version', 'version', version)
  if ('message' in path) errors.push(path)
  else compiled.version = path
  if (Object.keys(change).length === 0) errors.push({ field: 'change', message: 'must not be empty' })
  for (const [key, value] of Object.entries(change)) {
    const field = writableFields.find(each => each === key)
    if (!field) {
      const message = readOnly.includes(key) ? 'is read-only' : 'is not a known field'
      errors.push({ field: `change.${key}`, message })
    } else if (typeof value === 'string') {
      const template = compileText(field, `change.${key}`, value)
      if ('message' in template) errors.push(template)
      else compiled.change.push([field, template])
    } else {
      const wrong = wrongValue(field, value)
      if (wrong) errors.push({ field: `change.${key}`, message: wrong })
      else compiled.change.push([field, value])
    }
  }
  const named = isTemplate(version) || (typeof change.name === 'string' && isTemplate(change.name))
  if (named && !versions?.length) {
    errors.push({ field: 'versions', message: 'must be given where version or name is a template' })
  }
  return compiled
}

/** A string of a mapping as a template whose types fit its field; one without expressions is checked as the value it is. */
function compileText(field: WritableField | 'version', path: string, text: string): Template | FieldError {
  const template = parseTemplate(text)
  if ('wrong' in template) return { field: path, message: template.wrong }
  const sole = soleExpression(template)
  const boolean = field === 'isLatest' || field === 'isDefault'
  if (boolean && !sole) return { field: path, message: 'must be true, false or one expression alone' }
  if (sole) {
    const wanted = boolean ? 'bool' : 'string'
    return [wanted, 'dyn'].includes(sole.type) ? template : wrongType(path, wanted, sole.type)
  }
  if (!isTemplate(text)) {
    const wrong = wrongValue(field, text)
    return wrong ? { field: path, message: wrong } : template
  }
  const odd = template.find(
    piece => typeof piece === 'object' && !['string', 'int', 'double', 'bool', 'dyn'].includes(piece.type),
  )
  return typeof odd === 'object' ? wrongType(path, 'string', odd.type) : template
}

function wrongType(field: string, wanted: string, type: string): FieldError {
  return { field, message: `must yield ${wanted}, not ${type}` }
}

/** What is wrong with a value for a field of a patch, or for the version in the path. */
function wrongValue(field: WritableField | 'version', value: unknown): string | undefined {
  // Null takes the description away (RFC 7396).
  if (field === 'description' && value === null) return undefined
  if (typeof value === 'string' && value.length > maxTextLength) return tooLong
  const schema = field === 'version' ? versionName : connectionVersion.shape[field]
  return schema.safeParse(value).error?.issues[0]?.message
}
