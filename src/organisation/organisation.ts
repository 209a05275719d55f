/**
 * Owns an organisation: the road of each request from admission to outcome, and what its tokens, session, log and agenda
 * do together. A shell over the files beside it: here alone are the clock, the storage and the call to the platform.
 * Never sees a token, and lets the session out only into upstream/forward.ts.
 */
import { DurableObject } from 'cloudflare:workers'
import { uuidv7 } from '../crypto.ts'
import { readConfig } from '../env.ts'
import { ok, type Result, refuse } from '../errors.ts'
import { forward } from '../upstream/forward.ts'
import { type Message, post } from '../upstream/post.ts'
import { Agenda } from './agenda.ts'
import { Attempts } from './attempts.ts'
import { AuditLog } from './audit-log.ts'
import { type AuditQuery, filterShown } from './audit-query.ts'
import { type AuditPage, auditExport, auditPage, streamOf } from './audit-reader.ts'
import { Capacity } from './capacity.ts'
import { Chores, directoryRetryMs } from './chores.ts'
import { CommitQueue } from './commit-queue.ts'
import { ConsoleReader } from './console-reader.ts'
import { Courier, type World } from './courier.ts'
import type { Summary } from './directory.ts'
import type { HookDesk } from './hook-desk.ts'
import { Idempotency } from './idempotency.ts'
import type {
  AdminCall,
  Answer,
  Call,
  Origin,
  PatchCall,
  Presented,
  ReadCall,
  ReaderCall,
  ReceiptCall,
  RefusedCall,
  UpdateCall,
  WebhookCall,
} from './messages.ts'
import type { NewSession } from './new-session.ts'
import { type Consistency, type Inclusion, type LogName, Notary } from './notary.ts'
import { Prober } from './prober.ts'
import { about, byReader } from './record.ts'
import { Recorder } from './recorder.ts'
import { newTurns, Road } from './road.ts'
import type { SessionView } from './session.ts'
import { SessionStore } from './session-store.ts'
import { Slots } from './slots.ts'
import { Tables } from './tables.ts'
import { type Publishing, TokenDesk } from './token-desk.ts'
import { TokenStore } from './token-store.ts'
import { Unsettled } from './unsettled.ts'
import { Watch } from './watch.ts'
import { Webhooks } from './webhooks.ts'
import { Writer } from './writer.ts'

/** Six outgoing connections are an object's: five for callers, one for its alarm. */
const callerSlots = 5
const alarmSlots = 1
const maxWaiting = 256
const unconfiguredRetryMs = 60_000

export class Organisation extends DurableObject<Env> {
  readonly #tables!: Tables
  readonly #queue!: CommitQueue
  readonly #log!: AuditLog
  readonly #agenda!: Agenda
  readonly #tokens!: TokenStore
  readonly #tokenDesk!: TokenDesk
  readonly #session!: SessionStore
  readonly #unsettled!: Unsettled
  readonly #prober!: Prober
  readonly #idempotency!: Idempotency
  readonly #recorder!: Recorder
  readonly #notary!: Notary
  readonly #watch!: Watch
  readonly #webhooks!: Webhooks
  readonly #road!: Road
  readonly #chores!: Chores
  readonly #console!: ConsoleReader

  constructor(state: DurableObjectState, env: Env) {
    super(state, env)
    const config = readConfig(env)
    // Nothing works without, and the edge lets nothing through; but the alarm must live on, so this must not throw.
    if (!config.ok) return
    const { upstream, sealingKeys, signingKey, directory, storageBytes, alerts } = config.config
    this.#tables = new Tables(state.storage.sql)
    // With nothing to wait for, this resolves on a later turn of the event loop, at less than half the price of a timer.
    const nextTurn = (run: () => void) => void state.storage.sync().then(run, run)
    this.#queue = new CommitQueue(state.storage, nextTurn, () => this.#startAnew())
    this.#log = new AuditLog(this.#tables, this.#queue, (...record) => {
      this.#watch.heed(...record)
      this.#webhooks.heed(...record)
    })
    this.#agenda = new Agenda(this.#tables, this.#queue, at => void state.storage.setAlarm(at))
    this.#tokens = new TokenStore(this.#tables, this.#queue, this.#log)
    const custody = { baseUrl: upstream.baseUrl, keys: sealingKeys, retryMs: upstream.retryMs }
    this.#session = new SessionStore(this.#tables, this.#queue, this.#log, custody)
    const world: World = {
      now: () => Date.now(),
      random: () => Math.random(),
      sleep,
      send: (request, timeoutMs) => forward(fetch, request, timeoutMs),
    }
    const courier = (slots: Slots) => new Courier(world, slots, this.#session, this.#agenda, upstream.baseUrl)
    const turns = newTurns()
    const stores = { tables: this.#tables, queue: this.#queue, log: this.#log, agenda: this.#agenda }
    const watched = { ...stores, session: this.#session, tokens: this.#tokens }
    const tell =
      alerts && ((message: Message) => post(fetch, alerts, message, Date.now(), upstream.timeoutMs))
    this.#watch = new Watch(watched, state.storage.sql, world, upstream.retryMs, tell)
    this.#idempotency = new Idempotency(stores)
    const on = { ...stores, idempotency: this.#idempotency }
    this.#unsettled = new Unsettled(on, turns, upstream.retryMs)
    const inspector = new Writer(courier(new Slots(alarmSlots, maxWaiting)), world, upstream.retryMs)
    this.#prober = new Prober(this.#log, this.#session, inspector, world.now, upstream.timeoutMs)
    const capacity = new Capacity(storageBytes, () => this.#tables.bytes)
    const { timeoutMs, retryMs } = upstream
    const { now } = world
    const writer = new Writer(courier(new Slots(callerSlots, maxWaiting)), world, retryMs)
    this.#recorder = new Recorder({ ...stores, now })
    this.#notary = new Notary({ ...stores, now }, state.storage.sql, signingKey)
    const tools = { ...on, writer, unsettled: this.#unsettled, now, retryMs }
    const attempts = new Attempts(tools, this.#recorder)
    const all = {
      ...tools,
      session: this.#session,
      capacity,
      recorder: this.#recorder,
      attempts,
    }
    this.#road = new Road({ ...all, tokens: this.#tokens, notary: this.#notary, turns, sleep, timeoutMs })
    const exist = (id: string) => this.#comeIntoBeing(id)
    const publishing: Publishing = (receipt, value) => this.#commitAndPublish(receipt, value)
    this.#tokenDesk = new TokenDesk({ tables: this.#tables, tokens: this.#tokens, now, exist, publishing })
    const newId = () => uuidv7(now())
    this.#webhooks = new Webhooks(
      { ...all, ...watched, road: this.#road, world, exist, publishing, newId },
      state.storage.sql,
      sealingKeys,
    )
    const publish = (summary: Summary) => directory.getByName('directory').put(summary)
    this.#chores = new Chores({
      ...all,
      dispatcher: this.#webhooks.dispatcher,
      watch: this.#watch,
      inspector,
      publish,
      timeoutMs,
    })
    this.#console = new ConsoleReader(
      { ...watched, hooks: this.hooks, notary: this.#notary, now },
      state.storage.sql,
    )
    if (!this.#tables.exist) return
    state.storage.transactionSync(() => this.#tables.migrate())
    this.#load()
    this.#chores.closeLost()
    this.#webhooks.dispatcher.wake()
    this.#agenda.arm()
  }

  /** Reads everything that is held in memory from storage: at construction, and where a commit failed. */
  #load(): void {
    this.#log.load()
    this.#agenda.load()
    this.#tokens.load()
    this.#session.load()
    this.#unsettled.load()
    this.#idempotency.load()
    this.#webhooks.load()
    this.#notary.load()
  }

  /** A commit failed: what is in memory may be ahead of the storage. What cannot even be read anew must not be used. */
  #startAnew(): void {
    try {
      this.#load()
    } catch {
      this.ctx.abort('storage unreadable')
    }
  }

  // A caller's requests

  async describeToken(call: Call): Promise<Answer> {
    return this.#road.describeToken(call)
  }

  async refused(call: RefusedCall): Promise<Answer> {
    return this.#road.refused(call)
  }

  async read(call: ReadCall): Promise<Answer> {
    return this.#road.read(call)
  }

  async receipt(call: ReceiptCall): Promise<Answer> {
    return this.#road.receipt(call)
  }

  async update(call: Presented<UpdateCall | PatchCall>): Promise<Answer> {
    return this.#road.update(call)
  }

  async receive(call: WebhookCall): Promise<Answer> {
    return this.#webhooks.reception.receive(call)
  }

  // Administration: the edge has checked the admin

  /** What an admin does with tokens. */
  get tokens(): TokenDesk {
    return this.#tokenDesk
  }

  /** What an admin does with hooks. */
  get hooks(): HookDesk {
    return this.#webhooks.desk
  }

  async setSession(call: AdminCall, body: NewSession): Promise<Result<SessionView>> {
    const probed = await this.#prober.tryOut(call, body, this.#tables.exist)
    if (!probed.ok) {
      await this.#commit(() => undefined)
      return probed
    }
    if (!this.#comeIntoBeing(call.organisationId)) return refuse({ code: 'audit-unavailable' })
    const { receipt } = this.#session.set(call, probed.value, Date.now())
    return this.#commitAndPublish(receipt, () => this.#session.view())
  }

  async getSession(): Promise<SessionView> {
    return this.#session.view()
  }

  async deleteSession(call: AdminCall): Promise<Result<SessionView>> {
    const deleted = this.#session.delete(call, Date.now())
    if (!deleted) return ok(this.#session.view())
    return this.#commitAndPublish(deleted.receipt, () => this.#session.view())
  }

  async reseal(call: AdminCall): Promise<Result<'resealed' | 'unchanged' | 'unopened'>> {
    const outcomes = [this.#session.reseal(call, Date.now()), this.#webhooks.hooks.reseal(call, Date.now())]
    const worst = (['unopened', 'resealed'] as const).find(each => outcomes.includes(each)) ?? 'unchanged'
    return this.#commit(() => worst)
  }

  /** Records that someone presented a wrong secret, or that an auditor asked for what only an admin may do. */
  async adminDenied(call: Origin | ReaderCall): Promise<void> {
    if (!this.#recorder.mayRecordRefusal()) return
    const who =
      'reader' in call
        ? { ...byReader(call), reason: 'insufficient-scope' }
        : { ...about(call), actor: { type: 'anonymous' as const }, reason: 'invalid-token' }
    this.#log.append({ ...who, event: 'admin.denied' }, Date.now())
    await this.#commit(() => undefined)
  }

  async auditPage(query: AuditQuery): Promise<AuditPage> {
    await this.#commit(() => undefined)
    return auditPage(this.#tables, query)
  }

  async auditRecord(seq: number): Promise<string | undefined> {
    await this.#commit(() => undefined)
    return this.#tables.record(seq)
  }

  /**
   * What the log holds when this is called. That it was asked for is on record before any of it goes out, and the last line of it:
   * so a checkpoint covers it, whichever of the two is taken first.
   */
  async auditExport(call: ReaderCall, query: AuditQuery): Promise<Result<ReadableStream<Uint8Array>>> {
    const stream = (size: number) => auditExport(this.#tables, query, size, () => this.ctx.storage.sync())
    if (!this.#tables.exist) return ok(stream(0))
    const filter = filterShown(query)
    const asked = this.#log.append({ ...byReader(call), event: 'audit.exported', filter }, Date.now())
    const { seq, receipt } = asked
    const committed = await this.#commit(() => stream(seq))
    return committed.ok ? { ...committed, receipt } : committed
  }

  async checkpoint(name: LogName): Promise<Result<string>> {
    return this.#notary.checkpoint(name)
  }

  async inclusion(seq: number, size?: number): Promise<Result<Inclusion>> {
    return this.#notary.inclusion(seq, size)
  }

  async consistency(from: number, to?: number): Promise<Result<Consistency>> {
    return this.#notary.consistency(from, to)
  }

  async leaves(): Promise<Result<ReadableStream<Uint8Array>>> {
    const leaves = await this.#notary.leaves()
    return leaves.ok ? ok(streamOf(leaves.value)) : leaves
  }

  /** What the console shows. */
  get console(): ConsoleReader {
    return this.#console
  }

  /** Called hourly: reads the probe, and tells the directory how this organisation stands. */
  async lookAfter(origin: Origin): Promise<void> {
    if (!this.#tables.exist) return
    await this.#prober.look(origin)
    this.#chores.watchStorage()
    await this.#commit(() => undefined)
    await this.#chores.publish()
  }

  // Coming into being, committing, and what is due

  /** The tables, with the first call that has something to keep: until then a guessed id has stored nothing. */
  #comeIntoBeing(id: string): boolean {
    if (this.#tables.exist) return true
    try {
      this.ctx.storage.transactionSync(() => {
        this.#tables.migrate()
        this.#tables.insertOrganisation(id, Date.now())
      })
    } catch {
      return false
    } finally {
      this.#tables.lookAgain()
    }
    this.#load()
    return true
  }

  async #commit<T>(value: () => T): Promise<Result<T>> {
    try {
      await this.#queue.committed()
    } catch {
      return refuse({ code: 'audit-unavailable' })
    }
    return ok(value())
  }

  /** Commits, and tells the directory before the answer goes out, so that the listing shows what was just done. */
  async #commitAndPublish<T>(receipt: string, value: () => T): Promise<Result<T>> {
    this.#agenda.noLaterThan('directory', Date.now() + directoryRetryMs)
    const committed = await this.#commit(value)
    if (!committed.ok) return committed
    await this.#chores.publish()
    return { ...committed, receipt }
  }

  /** Does what is due. Never throws: after six failures the runtime would forget the alarm. */
  override async alarm(): Promise<void> {
    if (!this.#road) return this.ctx.storage.setAlarm(Date.now() + unconfiguredRetryMs)
    for (const kind of this.#agenda.fired(Date.now())) {
      try {
        await this.#chores.run(kind)
      } catch {
        this.#agenda.set(kind, Date.now() + directoryRetryMs)
      }
    }
    const committed = await this.#commit(() => this.#agenda.arm())
    // What could not be written is due still, and this alarm is spent.
    if (!committed.ok) await this.ctx.storage.setAlarm(Date.now() + directoryRetryMs).catch(() => {})
  }
}

function sleep(ms: number): { done: Promise<void>; cancel: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  return { done: promise, cancel: () => clearTimeout(timer) }
}
