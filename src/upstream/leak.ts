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
  const needles = secrets.flatMap(decodings).filter(({ length }) => length >= minSecretLength)
  const encoded = needles.flatMap(base64Cores)
  const spellings = unescapings(text).flatMap(decodings)
  return spellings.some(
    spelling =>
      needles.some(needle => spelling.includes(needle)) ||
      encoded.some(core => spelling.replaceAll('-', '+').replaceAll('_', '/').includes(core)),
  )
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

/** A text, and what it is without its percent-encoding, once to three times over; of ASCII, wherever it stands. */
function decodings(text: string): string[] {
  return repeatedly(text, each =>
    each.replace(/%([0-7][0-9A-Fa-f])/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
  )
}

/** A text, and what it is without its JSON escapes, once to three times over, as JSON can stand in JSON. */
function unescapings(text: string): string[] {
  return repeatedly(text, each =>
    each.replace(/\\(?:u([0-9A-Fa-f]{4})|(["\\/]))/g, (_, hex, literal) =>
      hex ? String.fromCharCode(Number.parseInt(hex, 16)) : literal,
    ),
  )
}

/** A text and what a step makes of it, up to three times or until it changes nothing more. */
function repeatedly(text: string, step: (text: string) => string): string[] {
  const texts = [text]
  for (let next = step(text); texts.length <= 3 && next !== texts.at(-1); next = step(next)) texts.push(next)
  return texts
}
