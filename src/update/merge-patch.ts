/** Owns JSON Merge Patch (RFC 7396). Pure: neither argument is changed. */

/**
 * The target with the patch applied (RFC 7396, section 2): null takes a member away, an object is merged, anything else
 * replaces. Recursive: the caller bounds the depth of what it takes in.
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const members = new Map(Object.entries(isObject(target) ? target : {}))
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name)
    else members.set(name, mergePatch(members.get(name), value))
  }
  // Not by assignment: a member named __proto__ is a member like any other.
  return Object.fromEntries(members)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
