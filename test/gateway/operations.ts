/**
 * Owns what a random run asks for: who asks what of which version, and how the platform misbehaves meanwhile. Knows nothing
 * of how it is asked, nor of what comes of it.
 */
import fc from 'fast-check'
import type { Fault } from '../platform/platform.ts'

export const organisations = ['01MODELA', '01MODELB']
export const connections = ['C1', 'C2', 'C3', 'C4', 'C5', 'C6']
/** So many tokens an organisation; what ends is replaced. */
export const tokensEach = 3

const notApplied: Fault[] = [
  { kind: 'drop-before' },
  ...[500, 502, 503, 520, 521, 429, 400].map((status): Fault => ({ kind: 'status', status })),
]
const appliedUnheard: Fault[] = [
  { kind: 'drop-after' },
  { kind: 'half' },
  { kind: 'not-json' },
  { kind: 'oversized', bytes: 200_000 },
  { kind: 'echo', encoding: 'raw' },
  ...[500, 502, 504, 408].map((status): Fault => ({ kind: 'status', status, apply: true })),
]
const slow = [5, 20, 80].map((ms): Fault => ({ kind: 'slow', ms }))
const hanging: Fault[] = [{ kind: 'hang' }, { kind: 'hang', apply: true }]
const login: Fault[] = [{ kind: 'redirect' }, { kind: 'html' }, { kind: 'html', status: 401 }]

const fault = fc.oneof(
  { weight: 80, arbitrary: fc.constantFrom(...notApplied) },
  { weight: 80, arbitrary: fc.constantFrom(...appliedUnheard) },
  { weight: 50, arbitrary: fc.constantFrom(...slow) },
  { weight: 2, arbitrary: fc.constantFrom(...hanging) },
  { weight: 4, arbitrary: fc.constantFrom(...login) },
)
const chance = (percent: number) => fc.nat(99).map(n => n < percent)
const kinds = {
  ...{ put: 1_000, repeat: 150, read: 150, ended: 50 },
  ...{ revoke: 15, rotate: 20, session: 10, expire: 2 },
} as const
/** One of what is asked. Not every kind uses all of it. */
export const operation = fc.record({
  kind: fc.oneof(
    ...Object.entries(kinds).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind) })),
  ) as fc.Arbitrary<keyof typeof kinds>,
  organisation: fc.constantFrom(...organisations),
  connection: fc.constantFrom(...connections),
  version: fc.constantFrom('1.3.0', '1.4.0', '2026.11-rc', 'latest', 'default'),
  token: fc.nat(tokensEach - 1),
  fault,
  faulty: chance(30),
  blind: chance(2),
  keyed: chance(30),
  flips: chance(10),
  large: chance(3),
  heals: chance(30),
  pick: fc.nat(9_999),
})
export type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never
