/** Owns what is measured side by side: starts the four, on one upstream, each with a folder of its own. */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startServer } from './child.ts'
import { startGateway } from './gateway.ts'
import { startWorkerd } from './workerd.ts'
import { bare, hop } from './workers.ts'

export const basePath = '/api/connect/v1alpha1'
export const names = ['bare', 'hop', 'node peer', 'gateway'] as const
export type Name = (typeof names)[number]

export interface Subject {
  name: Name
  url: string
  pid: number
  /** What a caller of an organisation presents. */
  token: (organisation: string) => string
  stop: () => Promise<void>
}

export async function startSubjects(
  upstream: string,
  folder: string,
  organisations: string[],
): Promise<Subject[]> {
  const storage = (name: string) => {
    const path = join(folder, name)
    mkdirSync(path, { recursive: true })
    return path
  }
  const anyToken = () => 'any'
  const variables = { UPSTREAM_BASE_URL: upstream + basePath }
  const passing = (name: string, source: string, objects: Record<string, string>) =>
    startWorkerd({ name, modules: { 'index.js': source }, objects, variables, storage: storage(name) })
  const bareOne = await passing('bare', bare, {})
  const hopOne = await passing('hop', hop, { HOP: 'Hop' })
  const peerToken = `peer_${randomBytes(15).toString('base64url').slice(0, 15)}${randomBytes(33).toString('base64url')}`
  const peer = await startServer('node-peer.ts', [upstream, basePath, storage('peer'), peerToken])
  const gateway = await startGateway({ upstream: upstream + basePath, storage: storage('gateway') })
  for (const organisation of organisations) await gateway.setUp(organisation)
  return [
    { name: 'bare', ...bareOne, token: anyToken },
    { name: 'hop', ...hopOne, token: anyToken },
    { name: 'node peer', ...peer, token: () => peerToken },
    { name: 'gateway', ...gateway },
  ]
}
