/**
 * Owns how one operation of the API is described: its parameters from the schemas that check them, its answers and errors. The
 * Worker has no use for it.
 */
import * as z from 'zod/mini'
import { receiptPath, versionPath } from './versions.ts'

export type Json = Record<string, unknown>

/** An answer in JSON. */
export function json(description: string): Json {
  return { description, content: { 'application/json': { schema: {} } } }
}

/** Makes the operations of one tag; `path` names the parameters, and every error is the one Problem. */
export function operation(tag: string, security?: Json[]) {
  return (
    operationId: string,
    summary: string,
    path: string,
    responses: Json,
    more: { body?: string; mediaType?: string; parameters?: Json[] } = {},
  ): Json => ({
    operationId,
    summary,
    tags: [tag],
    ...(security ? { security } : {}),
    parameters: [...pathParameters(path), ...(more.parameters ?? [])],
    ...(more.body
      ? {
          requestBody: {
            required: true,
            content: { [more.mediaType ?? 'application/json']: { schema: reference(more.body) } },
          },
        }
      : {}),
    responses: {
      ...responses,
      '4XX': { $ref: '#/components/responses/Problem' },
      '5XX': { $ref: '#/components/responses/Problem' },
    },
  })
}

function pathParameters(path: string): Json[] {
  const known = { ...(schema(receiptPath).properties as Json), ...(schema(versionPath).properties as Json) }
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: known[name] ?? {},
  }))
}

/** The parameters of a query string, from the schema that checks it. */
export function query(object: z.ZodMiniType): Json[] {
  const { properties, required = [] } = schema(object) as { properties: Json; required?: string[] }
  return Object.entries(properties).map(([name, each]) => ({
    name,
    in: 'query',
    ...(required.includes(name) ? { required: true } : {}),
    schema: each,
  }))
}

/** A schema's JSON Schema, as what may be sent. */
export function schema(object: z.ZodMiniType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(object, {
    io: 'input',
    // A date-time's pattern says in 300 characters what its format says in one word.
    override: ({ jsonSchema }) => {
      if (jsonSchema.format) delete jsonSchema.pattern
    },
  }) as Json
  return rest
}

/** A schema of the components, by its name. */
export function reference(name: string): Json {
  return { $ref: `#/components/schemas/${name}` }
}

/** Properties that are strings. */
export function strings(...names: string[]): Json {
  return Object.fromEntries(names.map(name => [name, { type: 'string' }]))
}
