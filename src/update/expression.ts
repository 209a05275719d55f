/**
 * Owns CEL expressions over an event: which are allowed, and what one yields. An allowed expression costs time and memory in
 * proportion to the event, reads no clock, and cannot throw. Never says a value of the event in what it answers.
 */
import type { ASTNode, Environment, ParseResult } from '@marcbachmann/cel-js'

/** An expression that was allowed. `type`: what it yields, in CEL's words; `dyn` where only the event tells. */
export interface Expression {
  text: string
  type: string
}

/** What an expression may read. */
export interface Scope {
  event: unknown
  headers: ReadonlyMap<string, string>
}

/** What an expression yields, or in words why it yields nothing. */
export type Yield = { ok: true; value: unknown } | { ok: false; why: string }

const maxLength = 2048
const maxExcerptLength = 100
const maxLiteralLength = 100
/** What is split into characters and joined again is so many times as long. */
const maxSeparatorLength = 16
/** How many values that are no literals one expression may put together: its result is so many times the event at most. */
const maxCombined = 8
/** What the body of a comprehension holds is there once for each element: so many literals, and so many characters of texts. */
const maxBodyValues = 32
const maxBodyText = 256

/** What may be called; every other function is refused. */
const functions = ['size', 'string', 'int', 'double', 'bool', 'has']
const methods = ['size', 'startsWith', 'endsWith', 'lowerAscii', 'upperAscii', 'trim', 'substring']
/** A search for a text that the event brings can take text × text steps, and a separator is repeated as often as wanted. */
const methodsOfLiteral = ['contains', 'indexOf', 'lastIndexOf', 'split', 'join']
const comprehensions = ['all', 'exists', 'exists_one', 'map', 'filter']

/**
 * An object of an event. Not a plain object, whose `constructor` the library would ask for its type; nor a plain Map, whose
 * type it would spell out to its depth and keep for ever, so that events of ever new shapes would fill the memory.
 */
class EventObject extends Map<string, unknown> {
  readonly #members: Record<string, unknown>
  constructor(members: object) {
    super()
    this.#members = members as Record<string, unknown>
  }
  override get size(): number {
    return Object.keys(this.#members).length
  }
  /** An index may be of any type, and only a string names a member. */
  override has(key: unknown): boolean {
    return typeof key === 'string' && Object.hasOwn(this.#members, key)
  }
  override get(key: string): unknown {
    return this.has(key) ? celValue(this.#members[key]) : undefined
  }
  override keys(): MapIterator<string> {
    return Object.keys(this.#members).values()
  }
}

function celValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(celValue)
  return typeof value === 'object' && value !== null ? new EventObject(value) : value
}

type Library = typeof import('@marcbachmann/cel-js')

let library: Library | undefined
let environment: Environment | undefined

/**
 * Loads the library, of which nothing is there before: evaluating it would double the start-up, and most organisations have no
 * hook. Everything else here must wait for this once.
 */
export async function loadExpressions(): Promise<void> {
  library ??= await import('@marcbachmann/cel-js')
  environment ??= environmentOf(library)
}

function environmentOf({ Environment, EvaluationError }: Library): Environment {
  const refuseComparison = (): never => {
    throw new EvaluationError({
      code: 'object_comparison',
      message: 'Objects are not compared, only their fields',
    })
  }
  const options = { async: false }
  return new Environment({
    // A literal may mix types, as lists of an event do.
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: 256, maxDepth: 32, maxListElements: 64, maxMapEntries: 64, maxCallArguments: 4 },
  })
    .registerVariable('event', 'dyn')
    .registerVariable('headers', 'map<string, string>')
    .registerType('object', EventObject)
    .registerFunction('size(object): int', (object: EventObject) => BigInt(object.size), options)
    .registerFunction('object.size(): int', (object: EventObject) => BigInt(object.size), options)
    .registerOperator('string in object', (key: string, object: EventObject) => object.has(key))
    .registerOperator('object == object', refuseComparison)
    .registerOperator('object == map', refuseComparison)
}

function loaded(): Environment {
  if (!environment) throw new Error('expressions are used before they are loaded')
  return environment
}

/** What is wrong with an expression, in words; `whole`: it is one nevertheless. */
export interface Wrong {
  wrong: string
  whole: boolean
}

/** An expression as it may be evaluated, or what is wrong with it. */
export function checkExpression(text: string): Expression | Wrong {
  if (text.length > maxLength) return { wrong: `must have at most ${maxLength} characters`, whole: false }
  const environment = loaded()
  let parsed: ParseResult
  try {
    parsed = environment.parse(text)
  } catch (error) {
    return { wrong: `is not an expression: ${summaryOf(error) ?? 'it cannot be read'}`, whole: false }
  }
  const { valid, type = 'dyn', error } = parsed.check()
  if (!valid) {
    return { wrong: `is not acceptable: ${summaryOf(error) ?? 'its types do not fit'}`, whole: true }
  }
  const wrong = wrongIn(parsed.ast, { readable: ['event', 'headers'], combined: { count: 0 } })
  return wrong ? { wrong, whole: true } : { text, type }
}

/** What an allowed expression yields: null, boolean, string, number, bigint, an array or another object. */
export function evaluate({ text }: Expression, { event, headers }: Scope): Yield {
  const environment = loaded()
  try {
    // Parsed anew each time, in microseconds: what was parsed keeps hold of the last event.
    const parsed = environment.parse(text)
    parsed.check()
    return { ok: true, value: parsed({ event: celValue(event), headers }) }
  } catch (error) {
    return { ok: false, why: `${reasonOf(error)}, in ${excerpt(text)}` }
  }
}

/** The beginning of an expression's text, as it may stand in a message. */
export function excerpt(text: string): string {
  const line = text.trim().replace(/\s+/g, ' ')
  return line.length > maxExcerptLength ? `${line.slice(0, maxExcerptLength)}…`.toWellFormed() : line
}

/** Where a node of an expression stands. `within`: the comprehension that it is the range or the body of. */
interface Place {
  readable: readonly string[]
  within?: string
  /** The literals so far of the body that it is in. */
  body?: { values: number; text: number }
  /** Whether what it yields is joined, or split. */
  joined?: boolean
  split?: boolean
  combined: { count: number }
}

/** The first thing that may not stand in an expression, in words. Recursive: the parser bounds the depth. */
function wrongIn(node: ASTNode, place: Place): string | undefined {
  // What of the node the types of the library say nothing about: `args` are nodes, names and literals.
  const args: unknown[] = Array.isArray(node.args) ? node.args.flat(2) : [node.args]
  const nodes = args.filter(isNode)
  if (node.op === 'id' && !place.readable.includes(node.args)) {
    return place.within
      ? `may read only ${place.readable} in the body of ${place.within}(), not ${node.args}`
      : `may read only event and headers, not ${node.args}`
  }
  if (node.op === 'value' && place.body) {
    const length = typeof node.args === 'string' ? node.args.length : 0
    place.body.values++
    place.body.text += length
    if (length > maxLiteralLength || place.body.text > maxBodyText || place.body.values > maxBodyValues)
      return `may hold only ${maxBodyValues} literals and ${maxBodyText} characters of text, ${maxLiteralLength} in one, in the body of ${place.within}()`
  }
  if (node.op === '+' || node.op === 'list' || node.op === 'map') {
    place.combined.count += Math.max(0, nodes.filter(each => each.op !== 'value').length - 1)
    if (place.combined.count > maxCombined) return `may not combine so many values by +, [ ] and { }`
  }
  if (node.op === 'call' && !functions.includes(node.args[0])) return `may not use ${node.args[0]}()`
  if (node.op === 'rcall') {
    const [method, receiver, [first, ...rest]] = node.args
    if (comprehensions.includes(method) && first)
      return wrongInComprehension(method, receiver, first, rest, place)
    if (methodsOfLiteral.includes(method)) {
      const maxLength = method === 'join' ? maxSeparatorLength : maxLiteralLength
      if (first && !isShortText(first, maxLength))
        return `may use ${method}() only with a literal text of 1 to ${maxLength} characters`
      // A text that was split and joined again is longer, and could be split, and joined, again.
      if (method === 'join' && place.joined) return 'may not use join() within join()'
      if (method === 'join' && place.split) return 'may not use join() within split()'
      // Small events would bring much: a text of the expression falls into its pieces once for each element.
      if ((method === 'join' || method === 'split') && place.body && !isBrought(receiver))
        return `may use ${method}() in the body of ${place.within}() only on what the element brings`
      if (method === 'join') return firstWrong(nodes, { ...place, joined: true })
      if (method === 'split') return firstWrong(nodes, { ...place, split: true })
    } else if (!methods.includes(method)) {
      return `may not use ${method}()`
    }
  }
  return firstWrong(nodes, place)
}

/**
 * A body runs for each element. That it reads its element alone and holds no comprehension keeps all of its runs together
 * linear; that a range holds none keeps what one makes larger from being made larger by the next.
 */
function wrongInComprehension(
  name: string,
  range: ASTNode,
  element: ASTNode,
  body: readonly ASTNode[],
  place: Place,
): string | undefined {
  if (place.within) return `may not use ${name}() within ${place.within}()`
  const variable = String(element.args)
  if (place.readable.includes(variable)) return `may not call an element ${variable}`
  return (
    wrongIn(range, { ...place, within: name }) ??
    firstWrong(body, { ...place, readable: [variable], within: name, body: { values: 0, text: 0 } })
  )
}

/** Whether a node yields a variable or a part of one, so that nothing of the expression is in it. */
function isBrought(node: ASTNode): boolean {
  switch (node.op) {
    case 'id':
      return true
    case '.':
    case '[]':
      return isBrought(node.args[0])
    case 'rcall':
      return isBrought(node.args[1])
    case 'call':
      return node.args[0] === 'string' && node.args[1].every(isBrought)
    default:
      return false
  }
}

function firstWrong(nodes: readonly ASTNode[], place: Place): string | undefined {
  for (const node of nodes) {
    const wrong = wrongIn(node, place)
    if (wrong) return wrong
  }
  return undefined
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value
}

function isShortText({ op, args }: ASTNode, maxLength: number): boolean {
  return op === 'value' && typeof args === 'string' && args.length >= 1 && args.length <= maxLength
}

/** Errors that the library words by types and by what stands in the expression, never by a value. */
const wordedByType = [
  'no_such_overload',
  'no_matching_overload',
  'invalid_condition_type',
  'invalid_logical_operand',
  'invalid_comprehension_range',
  'division_by_zero',
  'modulo_by_zero',
  'int_conversion_error',
  'double_conversion_error',
  'index_out_of_range',
  'invalid_list_element_type',
  'object_comparison',
]
const ownWords: Record<string, string> = {
  no_such_key: 'No such key',
  index_out_of_bounds: 'No such key: index out of bounds',
  bool_conversion_error: 'bool() type error: cannot convert to bool',
  numeric_overflow: 'integer overflow',
}

function reasonOf(error: unknown): string {
  if (!library || !(error instanceof library.EvaluationError)) return 'it cannot be evaluated'
  const { code, node } = error
  if (code === 'no_such_key' && (node?.op === '.' || node?.op === '[]') && Array.isArray(node.args)) {
    // A key that the expression names; one that it computes is a value of the event.
    const key = isNode(node.args[1]) ? node.args[1].op === 'value' && node.args[1].args : node.args[1]
    if (typeof key === 'string') return `No such key: ${key}`
  }
  if (wordedByType.includes(code)) return summaryOf(error) ?? code
  return ownWords[code] ?? 'it cannot be evaluated'
}

/** A message of the library without the lines of the expression that it shows. */
function summaryOf(error: unknown): string | undefined {
  const summary = error instanceof Error && 'summary' in error ? error.summary : undefined
  return typeof summary === 'string' ? summary.replace(/\bdyn<(.*?)>(?=[ ']|$)/g, '$1') : undefined
}
