/**
 * Owns the search for the session in an answer. A platform that echoes a request, or an error page that dumps its
 * headers, must not hand the cookie to a caller. Knows the common spellings; cannot know a cipher.
 */

/** Shorter values ("dark", "1") turn up by chance; a session of fewer characters could be guessed anyway. */
export const minSecretLength = 16

/**
 * Whether a text holds one of the values: raw, percent-encoded (any part of it, up to three times over), in base64 (both
 * alphabets, at any offset), or with JSON escapes.
 */
export function holdsSecret(text: string, values: readonly string[]): boolean {
  const secrets = values.filter(value => value.length >= minSecretLength)
  if (secrets.length === 0) return false
  // A value that is only long while encoded turns up decoded by chance.
  const needles = [
    ...secrets,
    ...secrets.map(percentDecoded).filter(({ length }) => length >= minSecretLength),
  ]
  const encoded = needles.flatMap(base64Cores)
  return [text, ...unescapings(text)].some(spelling => {
    const decoded = percentDecoded(spelling)
    const standard = decoded.replaceAll('-', '+').replaceAll('_', '/')
    return (
      needles.some(needle => spelling.includes(needle) || decoded.includes(needle)) ||
      encoded.some(core => standard.includes(core))
    )
  })
}

/**
 * The part of a text's base64 that is the same whatever stands around it, for each of the three offsets at which it can
 * stand: characters that share bits with a neighbour are cut off.
 */
function base64Cores(text: string): string[] {
  return [0, 1, 2].map(offset => {
    const bytes = Buffer.from('\0'.repeat(offset) + text)
    const start = Math.ceil((offset * 8) / 6)
    const end = Math.floor((bytes.byteLength * 8) / 6)
    return bytes.toString('base64').slice(start, end)
  })
}

/** Decodes %XX of ASCII wherever it stands, leniently, up to three times over. */
function percentDecoded(text: string): string {
  let decoded = text
  for (let round = 0; round < 3 && decoded.includes('%'); round++) {
    decoded = decoded.replace(/%([0-7][0-9A-Fa-f])/g, (_, hex) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    )
  }
  return decoded
}

/** A text without its JSON escapes, once to three times over, as JSON can stand in JSON. */
function unescapings(text: string): string[] {
  const once = jsonUnescaped(text)
  const twice = jsonUnescaped(once)
  return [once, twice, jsonUnescaped(twice)]
}

/** Undoes JSON's escapes wherever they stand, whether or not the text is JSON as a whole. */
function jsonUnescaped(text: string): string {
  return text.replace(/\\(?:u([0-9A-Fa-f]{4})|(["\\/]))/g, (_, hex, literal) =>
    hex ? String.fromCharCode(Number.parseInt(hex, 16)) : literal,
  )
}
