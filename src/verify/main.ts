/**
 * Owns the offline verifier, `npm run audit:verify`, and its rules. Imports nothing of the gateway and asks nobody: what it says
 * rests on the files that it is given, and on a verifier key that you trust.
 *
 * To write another:
 *
 * 1. An export is one record a line, each ended by 0x0A, which belongs to no record. Record n stands in line n and begins
 *    with `{"seq":n,`. Take its bytes as they are: parsed and serialised again, they are others.
 * 2. Its leaf is SHA-256(0x00 ‖ bytes). A node is SHA-256(0x01 ‖ left ‖ right). The root over n leaves: of none, SHA-256 of
 *    nothing; of one, the leaf; of more, the node over the root of the first k and the root of the rest, where k is the
 *    largest power of two smaller than n (RFC 6962, section 2.1).
 * 3. A key is `name+id+key`: `key` is base64 of 0x01 and the 32 bytes of an Ed25519 public key, `id` the first four bytes of
 *    SHA-256(name ‖ 0x0A ‖ those 33 bytes) in hexadecimal.
 * 4. A checkpoint is a text, an empty line, and lines `— name base64`, whose first four bytes are a key's id and whose others
 *    are its signature of the text, line feed at its end included. Pass over signatures by keys that you do not know; one by
 *    a key that you know must hold, and there must be one. The text is three lines: the origin, which begins with the
 *    key's name and `/o/` and ends in the organisation's id; the number of records, in decimal; their root, in base64.
 * 5. The log holds where the root over its first n leaves is the one in the checkpoint of n. Records after the last
 *    checkpoint are covered by nothing.
 * 6. A receipt document holds where its record's leaf is its `leaf`, and `proof` leads from it, at index seq - 1, to the root
 *    in its checkpoint (RFC 9162, section 2.1.3.2). A checkpoint extends another where their consistency proof holds (section
 *    2.1.4.2), or where both hold for one export.
 * 7. A root says that something is wrong, not what. Which record it is can be told from the numbers, and from leaves: those of
 *    `GET …/audit/leaves`, if they hash to a checkpoint's root, or of the receipts that callers kept. Two receipts of one number
 *    that differ, or two checkpoints of one size, are of a log that was forked.
 */
import { answer } from './command.ts'

const { code, lines } = await answer(process.argv.slice(2), line => console.error(line))
for (const line of lines) (code === 2 ? console.error : console.log)(line)
process.exitCode = code
