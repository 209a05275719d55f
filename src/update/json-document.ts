/** Owns how bytes become a JSON document. Never bounds their number: who reads them does. */
import { utf8 } from '../body.ts'
import { type Result, refuse } from '../errors.ts'

/**
 * One JSON document in UTF-8 without a byte order mark (RFC 8259, section 8.1), as `read` takes it from its text; whatever
 * `read` throws is malformed-json too.
 */
export function readJson<T>(bytes: Uint8Array, read: (text: string) => Result<T>): Result<T> {
  try {
    return read(utf8(bytes))
  } catch {
    // The parser's own message quotes the body.
    const detail = 'The body is not one JSON document in UTF-8 without a byte order mark.'
    return refuse({ code: 'malformed-json', detail })
  }
}
