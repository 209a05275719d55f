/**
 * Owns how the parts around webhooks fit together: hooks, what they were sent, how it is received and when it is delivered. Holds
 * no rule of its own.
 */
import type { Secret } from '../crypto.ts'
import type { Heed } from './audit-log.ts'
import { DeliveryStore } from './delivery-store.ts'
import { type Depot, Dispatcher } from './dispatcher.ts'
import { type Drawers, HookDesk } from './hook-desk.ts'
import { HookStore } from './hook-store.ts'
import { HookTable } from './hook-table.ts'
import { type Desk, Reception } from './reception.ts'

type Own = 'hooks' | 'deliveries' | 'reception' | 'now' | 'bury'

export class Webhooks {
  readonly hooks: HookStore
  readonly reception: Reception
  readonly dispatcher: Dispatcher
  readonly desk: HookDesk
  readonly #deliveries: DeliveryStore

  constructor(
    on: Omit<Depot, Own> & Omit<Desk, Own> & Omit<Drawers, Own>,
    sql: SqlStorage,
    keys: readonly [Secret, ...Secret[]],
  ) {
    const { now, random } = on.world
    const table = new HookTable(sql)
    const hooks = new HookStore(on, table, keys)
    const deliveries = new DeliveryStore(on, table, random, on.retryMs)
    const dispatcher = new Dispatcher({ ...on, hooks, deliveries })
    const bury: Desk['bury'] = (...delivery) => dispatcher.bury(...delivery)
    const reception = new Reception({ ...on, hooks, deliveries, now, bury })
    this.hooks = hooks
    this.#deliveries = deliveries
    this.dispatcher = dispatcher
    this.reception = reception
    this.desk = new HookDesk({ ...on, hooks, deliveries, reception, now })
  }

  load(): void {
    this.hooks.load()
    this.#deliveries.load()
  }

  heed(...record: Parameters<Heed>): void {
    this.#deliveries.heed(...record)
    this.dispatcher.heed(...record)
  }
}
