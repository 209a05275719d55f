/** Owns what is asked of whom: the requests of each scenario, and the answer that each must get. */
import { randomBytes } from 'node:crypto'
import type { Request } from 'autocannon'
import { mintToken } from '../../src/auth/token.ts'
import type { Name, Subject } from './subjects.ts'
import { version } from './version.ts'

export const callers = 32
const one = 'BENCH'
const slow = 'SLOW'
const many = Array.from({ length: callers }, (_, i) => `BENCH${i + 1}`)
export const organisations = [one, slow, ...many]

export interface Scenario {
  name: string
  connections: number
  subjects: readonly Name[]
  requests: (subject: Pick<Subject, 'token'>) => Request[][]
  /** The status that every answer must have. */
  status: number
  /** The body that every answer must have; refusals hold an id of their own. */
  body?: string
  /** The scenario in which bare does what this is compared with. */
  base: 'PUT' | 'GET' | 'PUT, 1 connection'
  /** At least so long, where less would say nothing. */
  minSeconds?: number
  /** How long it runs unmeasured before all: until the runtime has compiled what runs often. */
  warmSeconds: number
}

const body = JSON.stringify(version)

export function request(
  method: string,
  organisation: string,
  caller: number,
  token: string | undefined,
  sent: string | undefined = method === 'GET' ? undefined : body,
): Request {
  const headers: Record<string, string> = { 'User-Agent': 'bench/1' }
  if (token !== undefined) headers.Authorization = `Bearer ${token}`
  if (sent !== undefined) headers['Content-Type'] = 'application/json'
  const path = `/o/${organisation}/connections/CONN${caller}/versions/${version.name}`
  return sent === undefined ? { method, path, headers } : { method, path, headers, body: sent }
}

/** A request for each caller, each with a connection of the platform to itself. */
function each(make: (caller: number) => Request | Request[], count = callers): Request[][] {
  return Array.from({ length: count }, (_, caller) => [make(caller)].flat())
}

/** A well-formed token that no organisation has. */
const forged = () => mintToken(length => randomBytes(length)).token
const mistyped = (token: string) => token.slice(0, 30) + (token[30] === 'x' ? 'y' : 'x') + token.slice(31)

const all: readonly Name[] = ['bare', 'hop', 'node peer', 'gateway']
const gateway: readonly Name[] = ['gateway']
const wide = { connections: callers, base: 'PUT', warmSeconds: 1 } as const
const passed = { status: 200, body } as const

export const scenarios: readonly Scenario[] = [
  {
    ...wide,
    ...passed,
    name: 'PUT',
    warmSeconds: 8,
    subjects: all,
    requests: ({ token }) => each(caller => request('PUT', one, caller, token(one))),
  },
  {
    ...wide,
    ...passed,
    name: 'PUT, 32 organisations',
    subjects: ['hop', 'gateway'],
    requests: ({ token }) =>
      each(caller => request('PUT', many[caller] as string, caller, token(many[caller] as string))),
  },
  {
    ...passed,
    name: 'GET',
    warmSeconds: 4,
    connections: callers,
    base: 'GET',
    subjects: all,
    requests: ({ token }) => each(caller => request('GET', one, caller, token(one))),
  },
  {
    ...passed,
    name: 'PUT, 1 connection',
    warmSeconds: 1,
    connections: 1,
    base: 'PUT, 1 connection',
    subjects: all,
    requests: ({ token }) => each(caller => request('PUT', one, caller, token(one)), 1),
  },
  {
    ...wide,
    name: 'no token',
    status: 401,
    subjects: gateway,
    requests: () => each(caller => request('PUT', one, caller, undefined)),
  },
  {
    ...wide,
    name: 'mistyped token',
    status: 401,
    subjects: gateway,
    requests: ({ token }) => each(caller => request('PUT', one, caller, mistyped(token(one)))),
  },
  {
    ...wide,
    name: 'another method',
    status: 405,
    subjects: gateway,
    requests: ({ token }) => each(caller => request('POST', one, caller, token(one))),
  },
  {
    ...wide,
    name: 'unknown token, the same again',
    status: 401,
    subjects: gateway,
    requests: () => each(caller => request('PUT', one, caller, forged())),
  },
  {
    ...wide,
    name: 'unknown token, a new one each time',
    status: 401,
    subjects: gateway,
    // As many as are asked about in a round; no one is asked about twice.
    requests: () => each(caller => Array.from({ length: 250 }, () => request('PUT', one, caller, forged()))),
  },
  {
    ...wide,
    name: 'bad body',
    status: 400,
    subjects: gateway,
    requests: ({ token }) =>
      each(caller => request('PUT', one, caller, token(one), body.replace('true', '1'))),
  },
  {
    ...wide,
    ...passed,
    name: 'PUT, upstream of 200 ms',
    subjects: gateway,
    warmSeconds: 2,
    minSeconds: 4,
    requests: ({ token }) => each(caller => request('PUT', slow, caller, token(slow))),
  },
]
