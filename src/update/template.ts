/**
 * Owns texts with CEL expressions in `${{ }}`, as in CI configuration: finds the expressions, and puts what they yield in
 * their place, once. What an expression yields is never read as a template.
 */
import { checkExpression, type Expression, evaluate, excerpt, type Scope, type Yield } from './expression.ts'

/** Literal texts and expressions, in order. */
export type Template = readonly (string | Expression)[]

const opening = '${{'
const closing = '}}'
const maxLength = 8192
const maxExpressions = 16
/** In UTF-16 code units, of what a template yields. */
export const maxTextLength = 65_536

export function isTemplate(text: string): boolean {
  return text.includes(opening)
}

/** A text as a template, or in words what is wrong with it. */
export function parseTemplate(text: string): Template | { wrong: string } {
  if (text.length > maxLength) return { wrong: `must have at most ${maxLength} characters` }
  const pieces: (string | Expression)[] = []
  let at = 0
  for (let start = text.indexOf(opening); start >= 0; start = text.indexOf(opening, at)) {
    if (pieces.filter(piece => typeof piece !== 'string').length === maxExpressions) {
      return { wrong: `must hold at most ${maxExpressions} expressions` }
    }
    if (start > at) pieces.push(text.slice(at, start))
    const found = expressionAt(text, start + opening.length)
    if ('wrong' in found) return found
    pieces.push(found.expression)
    at = found.end
  }
  if (at < text.length || pieces.length === 0) pieces.push(text.slice(at))
  return pieces
}

/**
 * The expression that begins at `start` ends at the first `}}` before which there is one: those in a literal text or that
 * close maps leave half an expression. Where none is whole, the first is the one to complain about.
 */
function expressionAt(
  text: string,
  start: number,
): { expression: Expression; end: number } | { wrong: string } {
  let first: { wrong: string } | undefined
  for (let end = text.indexOf(closing, start); end >= 0; end = text.indexOf(closing, end + 1)) {
    const source = text.slice(start, end)
    const checked = checkExpression(source)
    if (!('wrong' in checked)) return { expression: checked, end: end + closing.length }
    if (checked.whole) return { wrong: `${excerpt(source)} ${checked.wrong}` }
    first ??= { wrong: `${excerpt(source) || 'an empty expression'} ${checked.wrong}` }
  }
  return first ?? { wrong: `holds ${opening} without ${closing}` }
}

/** The one expression that a template consists of, if it does. */
export function soleExpression([first, ...rest]: Template): Expression | undefined {
  return typeof first === 'object' && rest.length === 0 ? first : undefined
}

/** What a template yields: of one that is a sole expression its value as it is, of every other a text. */
export function expand(template: Template, scope: Scope): Yield {
  const sole = soleExpression(template)
  if (sole) return evaluate(sole, scope)
  let text = ''
  for (const piece of template) {
    const part = typeof piece === 'string' ? { ok: true as const, value: piece } : textOf(piece, scope)
    if (!part.ok) return part
    text += part.value
    if (text.length > maxTextLength) return { ok: false, why: tooLong }
  }
  return { ok: true, value: text }
}

export const tooLong = `must have at most ${maxTextLength} characters`

function textOf(expression: Expression, scope: Scope): Yield {
  const yielded = evaluate(expression, scope)
  if (!yielded.ok) return yielded
  const { value } = yielded
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return { ok: true, value: String(value) }
    case 'number':
      // Neither 1e+21, nor an integer whose last digits JSON.parse has rounded away.
      if (/^-?\d+(\.\d+)?$/.test(String(value)) && Math.abs(value) <= Number.MAX_SAFE_INTEGER) {
        return { ok: true, value: String(value) }
      }
      return { ok: false, why: `must yield a number with a plain decimal form: ${excerpt(expression.text)}` }
    default:
      return { ok: false, why: `must yield a text, a number or a boolean: ${excerpt(expression.text)}` }
  }
}
