/** Owns how an event of a webhook is read: one JSON document, no larger than what may be made of it. Never looks at what it says. */
import { ok, type Result, refuse } from '../errors.ts'
import { readJson } from './json-document.ts'

const maxDepth = 64
/** Lists directly in lists: the library of expressions keeps a type for each depth that it has seen. */
const maxListDepth = 8
const maxValues = 100_000

/**
 * An event from its bytes: one JSON document (malformed-json), at most 64 levels deep, with at most 8 lists directly in lists
 * and 100,000 values (invalid-body), counted before it is parsed. Integers past 2^53 are rounded.
 */
export function parseEvent(bytes: Uint8Array): Result<unknown> {
  return readJson(bytes, text => {
    const excess = excessOf(text)
    if (excess) return refuse({ code: 'invalid-body', fields: [{ field: 'body', message: excess }] })
    return ok(JSON.parse(text))
  })
}

/** What a JSON text has too much of. Every list and object counts as one value more where it is empty. */
function excessOf(text: string): string | undefined {
  let values = 1
  /** Of each list and object that is open: how many lists it ends a row of. */
  const open: number[] = []
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at)
        break
      case ',':
        values++
        break
      case '[':
      case '{':
        values++
        open.push(text[at] === '[' ? (open.at(-1) ?? 0) + 1 : 0)
        if (open.length > maxDepth) return `must be at most ${maxDepth} levels deep`
        if (open.at(-1) === maxListDepth + 1)
          return `must hold at most ${maxListDepth} lists directly in lists`
        break
      case ']':
      case '}':
        open.pop()
    }
    if (values > maxValues) return `must hold at most ${maxValues} values`
  }
  return undefined
}

function endOfString(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}
