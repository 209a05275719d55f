/**
 * Owns the hooks of one organisation as they are, or are queued to be, with the records of what is done to them. Opens
 * their secrets for the check of a signature, and for nothing else. No clock: the time comes in.
 */
import type { Secret } from '../crypto.ts'
import type { AuditLog, Written } from './audit-log.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { HookTable } from './hook-table.ts'
import { activeSecrets, type HookRow } from './hooks.ts'
import type { AdminCall } from './messages.ts'
import { byAdmin } from './record.ts'
import { openSecret, sealSecret } from './sealing.ts'
import type { Tables } from './tables.ts'

export class HookStore {
  readonly #tables: Tables
  readonly #table: HookTable
  readonly #queue: CommitQueue
  readonly #log: AuditLog
  readonly #keys: readonly [Secret, ...Secret[]]
  readonly #hooks = new Map<string, HookRow>()
  #organisationId = ''

  constructor(
    on: { tables: Tables; queue: CommitQueue; log: AuditLog },
    table: HookTable,
    keys: readonly [Secret, ...Secret[]],
  ) {
    this.#tables = on.tables
    this.#queue = on.queue
    this.#log = on.log
    this.#table = table
    this.#keys = keys
  }

  load(): void {
    this.#organisationId = this.#tables.organisation()?.id ?? ''
    this.#hooks.clear()
    if (!this.#tables.exist) return
    for (const row of this.#table.hooks()) this.#hooks.set(row.id, row)
  }

  get(id: string): HookRow | undefined {
    return this.#hooks.get(id)
  }

  /** Every hook, oldest first. */
  list(): HookRow[] {
    return [...this.#hooks.values()]
  }

  /** Stores a hook as an admin made or changed it. Whoever sends next meets it so; durable with the next commit. */
  change(
    call: AdminCall,
    event: 'hook.created' | 'hook.changed' | 'hook.rotated',
    row: HookRow,
    nowMs: number,
  ): Written {
    this.#put(row)
    return this.#record(call, event, row, nowMs)
  }

  /** Forgets a hook, its deliveries and their payloads; `cancelled`: how many were still to be made. */
  delete(call: AdminCall, row: HookRow, cancelled: number, nowMs: number): Written {
    this.#hooks.delete(row.id)
    this.#queue.add(() => this.#table.deleteHook(row.id))
    return this.#record(call, 'hook.deleted', row, nowMs, { cancelled })
  }

  /** The secrets that work now. What an older key sealed is sealed anew; what no key opens is left out. */
  secretsOf(row: HookRow, nowMs: number): Secret[] {
    const opened = activeSecrets(row, nowMs).map(each => ({
      ...each,
      opened: this.#open(row.id, each.sealed),
    }))
    if (opened.some(each => each.opened && each.opened.key > 0)) this.#reseal(row, nowMs)
    return opened.flatMap(each => (each.opened ? [each.opened.secret] : []))
  }

  /** Whether a hook is signed for with a key of which the gateway has the public half. */
  hasPublicKey(row: HookRow): boolean {
    const [newest] = row.secrets
    return newest !== undefined && !!this.#open(row.id, newest.sealed)?.secret.reveal().startsWith('whpk_')
  }

  /** Seals a secret for a hook with the newest key. */
  seal(id: string, secret: string): Uint8Array {
    return sealSecret(secret, this.#keys[0], 'hook', [this.#organisationId, id])
  }

  /** Seals every secret that works with the newest key. `unopened`: there is one that no key that is set opens. */
  reseal(call: AdminCall, nowMs: number): 'resealed' | 'unchanged' | 'unopened' {
    let outcome: 'resealed' | 'unchanged' | 'unopened' = 'unchanged'
    for (const row of this.#hooks.values()) {
      const keys = activeSecrets(row, nowMs).map(({ sealed }) => this.#open(row.id, sealed)?.key)
      if (keys.some(key => key !== undefined && key > 0)) {
        this.#reseal(row, nowMs)
        this.#record(call, 'hook.resealed', row, nowMs)
        if (outcome === 'unchanged') outcome = 'resealed'
      }
      if (keys.includes(undefined)) outcome = 'unopened'
    }
    return outcome
  }

  /** Secrets that work no more are dropped: what only an older key opens would be left behind. */
  #reseal(row: HookRow, nowMs: number): void {
    const secrets = activeSecrets(row, nowMs).map(each => {
      const opened = this.#open(row.id, each.sealed)
      return opened && opened.key > 0 ? { ...each, sealed: this.seal(row.id, opened.secret.reveal()) } : each
    })
    this.#put({ ...row, secrets })
  }

  #open(id: string, sealed: Uint8Array): ReturnType<typeof openSecret> {
    return openSecret(sealed, this.#keys, 'hook', [this.#organisationId, id])
  }

  #put(row: HookRow): void {
    this.#hooks.set(row.id, row)
    this.#queue.add(() => this.#table.putHook(row))
  }

  #record(
    call: AdminCall,
    event: 'hook.created' | 'hook.changed' | 'hook.rotated' | 'hook.resealed' | 'hook.deleted',
    { id, definition }: HookRow,
    nowMs: number,
    more: object = {},
  ): Written {
    const origin = byAdmin(call)
    const target = { ...origin.target, connectionId: definition.connectionId, hookId: id }
    return this.#log.append({ ...origin, event, target, hook: { id, ...definition, ...more } }, nowMs)
  }
}
