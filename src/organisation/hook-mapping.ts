/**
 * Owns what an organisation adds to a mapping: that versions match its patterns, and that the log may hold what comes of it.
 * Never evaluates anything itself.
 */
import { matchesVersion } from '../auth/caller.ts'
import { holdsToken } from '../auth/token.ts'
import type { FieldError } from '../errors.ts'
import { isTemplate } from '../update/template.ts'
import { type Mapped, type Mapping, mapEvent, mappingErrors } from '../update/webhook-mapping.ts'
import type { HookDefinition } from './hooks.ts'

/** What is wrong with a definition beyond its schema. */
export function definitionErrors(wanted: Mapping): FieldError[] {
  const errors = mappingErrors(wanted)
  const { version, versions, change } = wanted
  const unmatched = (name: unknown) =>
    typeof name === 'string' && !isTemplate(name) && !versions?.some(each => matchesVersion(each, name))
  const message = 'matches none of versions'
  if (versions && unmatched(version)) errors.push({ field: 'version', message })
  if (versions && unmatched(change.name)) errors.push({ field: 'change.name', message })
  return errors
}

/** What an event becomes: a change that the log may hold. */
export function mapFor(
  definition: HookDefinition,
  event: unknown,
  headers: Readonly<Record<string, string>>,
): Mapped {
  return mapEvent(definition, event, headers, matchesVersion, holdsToken)
}
