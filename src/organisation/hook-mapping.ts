/**
 * Owns what an organisation adds to a mapping: that versions match its patterns, and that the log may hold what comes of it.
 * Never evaluates anything itself.
 */
import { matchesVersion } from '../auth/caller.ts'
import { holdsToken } from '../auth/token.ts'
import type { FieldError } from '../errors.ts'
import { loadExpressions } from '../update/expression.ts'
import { isTemplate } from '../update/template.ts'
import { type Mapped, type Mapping, mapEvent, mappingErrors } from '../update/webhook-mapping.ts'
import type { HookDefinition } from './hooks.ts'

/** What can be done with mappings once expressions are loaded: the one way to get at it. */
export interface HookMapping {
  definitionErrors: typeof definitionErrors
  mapFor: typeof mapFor
}

/** What stood before this wait may not stand after it: wait before anything is looked at. */
export async function hookMapping(): Promise<HookMapping> {
  await loadExpressions()
  return { definitionErrors, mapFor }
}

/** What is wrong with a definition beyond its schema. */
function definitionErrors(wanted: Mapping): FieldError[] {
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
function mapFor(
  definition: HookDefinition,
  event: unknown,
  headers: Readonly<Record<string, string>>,
): Mapped {
  return mapEvent(definition, event, headers, matchesVersion, holdsToken)
}
