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
import { Archive } from './archive.ts'
import { ArchiveTable } from './archive-table.ts'
import { Attempts } from './attempts.ts'
import type { AuditDesk } from './audit-desk.ts'
import { AuditLog } from './audit-log.ts'
import { Capacity } from './capacity.ts'
import { Chores, directoryRetryMs } from './chores.ts'
import { CommitQueue } from './commit-queue.ts'
import { ConsoleReader } from './console-reader.ts'
import { Continuity } from './continuity.ts'
import { Courier, type World } from './courier.ts'
import type { Summary } from './directory.ts'
import { Evidence } from './evidence.ts'
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
import { Prober } from './prober.ts'
import { about, byReader } from './record.ts'
import { Recorder } from './recorder.ts'
import { newTurns, Road } from './road.ts'
import type { SessionView } from './session.ts'
import { SessionStore } from './session-store.ts'
import { Slots } from './slots.ts'
import { Tables } from './tables.ts'
import { Timers } from './timers.ts'
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
/** How long a commit waits for the records of others while callers queue for the slots: it holds nobody up then. */
const companyMs = 4
/** For an alarm that can do nothing. */
const shutRetryMs = 60_000

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
  readonly #evidence!: Evidence
  readonly #continuity!: Continuity
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
    const { upstream, sealingKeys, signingKey, directory, storageBytes, alerts, retentionDays } =
      config.config
    const { timeoutMs, retryMs } = upstream
    const { sql } = state.storage
    const timers = new Timers({ now: () => Date.now(), set: setTimeout, clear: clearTimeout })
    const world: World = {
      now: () => Date.now(),
      random: () => Math.random(),
      sleep: ms => timers.sleep(ms),
      send: (request, timeoutMs) => forward(fetch, request, abort => timers.after(timeoutMs, abort)),
    }
    const { now, sleep } = world
    const tell = alerts && ((message: Message) => post(fetch, alerts, message, now(), timeoutMs))
    this.#tables = new Tables(sql)
    const archived = {
      archive: config.config.archive && new Archive(config.config.archive, sleep, timeoutMs),
      table: new ArchiveTable(sql),
      key: signingKey,
      tell,
      world,
      retryMs,
    }
    const grounds = { ...archived, tables: this.#tables, name: state.id.name ?? '' }
    this.#continuity = new Continuity(grounds, () => this.#resume())
    const slots = new Slots(callerSlots, maxWaiting)
    // A sync with nothing to wait for resolves on a later turn of the event loop, at less than half the price of a timer.
    const soon = (run: () => void) =>
      slots.crowded ? void setTimeout(run, companyMs) : void state.storage.sync().then(run, run)
    this.#queue = new CommitQueue(state.storage, soon, () => this.#startAnew(), this.#continuity)
    this.#log = new AuditLog(this.#tables, this.#queue, (...record) => {
      this.#watch.heed(...record)
      this.#evidence.heed(...record)
      this.#webhooks.heed(...record)
    })
    this.#agenda = new Agenda(this.#tables, this.#queue, at => void state.storage.setAlarm(at))
    this.#tokens = new TokenStore(this.#tables, this.#queue, this.#log)
    const custody = { baseUrl: upstream.baseUrl, keys: sealingKeys, retryMs: upstream.retryMs }
    this.#session = new SessionStore(this.#tables, this.#queue, this.#log, custody)
    const courier = (slots: Slots) => new Courier(world, slots, this.#session, this.#agenda, upstream.baseUrl)
    const turns = newTurns()
    const stores = { tables: this.#tables, queue: this.#queue, log: this.#log, agenda: this.#agenda }
    const watched = { ...stores, session: this.#session, tokens: this.#tokens }
    this.#watch = new Watch(watched, sql, world, retryMs, tell)
    this.#idempotency = new Idempotency(stores)
    const on = { ...stores, idempotency: this.#idempotency }
    this.#unsettled = new Unsettled(on, turns, upstream.retryMs)
    const inspector = new Writer(courier(new Slots(alarmSlots, maxWaiting)), world, upstream.retryMs)
    this.#prober = new Prober(this.#log, this.#session, inspector, world.now, upstream.timeoutMs)
    const shut = () => this.#continuity.objection
    const capacity = new Capacity(storageBytes, () => this.#tables.bytes, shut)
    const writer = new Writer(courier(slots), world, retryMs)
    this.#recorder = new Recorder({ ...stores, now })
    const exist = (call: AdminCall) => this.#comeIntoBeing(call)
    const means = { ...stores, ...archived, continuity: this.#continuity, retentionDays, now, exist }
    this.#evidence = new Evidence(means, state.storage)
    const { notary, bytes } = this.#evidence
    const tools = { ...on, writer, unsettled: this.#unsettled, now, retryMs }
    const attempts = new Attempts(tools, this.#recorder)
    const all = { ...tools, session: this.#session, capacity, recorder: this.#recorder, attempts }
    this.#road = new Road({ ...all, tokens: this.#tokens, notary, turns, sleep, timeoutMs })
    const publishing: Publishing = (receipt, value) => this.#commitAndPublish(receipt, value)
    this.#tokenDesk = new TokenDesk({ tables: this.#tables, tokens: this.#tokens, now, exist, publishing })
    const newId = () => uuidv7(now())
    const depot = { ...all, ...watched, road: this.#road, world, exist, publishing, newId }
    this.#webhooks = new Webhooks(depot, sql, sealingKeys)
    const publish = (summary: Summary) => directory.getByName('directory').put(summary)
    this.#chores = new Chores({
      ...all,
      dispatcher: this.#webhooks.dispatcher,
      watch: this.#watch,
      evidence: this.#evidence,
      inspector,
      publish,
      timeoutMs,
    })
    const shelf = { ...watched, hooks: this.hooks, notary, bytes, continuity: this.#continuity, now }
    this.#console = new ConsoleReader(shelf, sql)
    if (!this.#tables.exist) return
    state.storage.transactionSync(() => this.#tables.migrate())
    this.#load()
    // With an archive it goes on once the two have been compared.
    if (this.#continuity.open) this.#resume()
    else void this.#mayWrite()
  }

  /** Goes on with what was under way, once the log may be written to. */
  #resume(): void {
    if (!this.#tables.exist) return
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
    this.#evidence.load()
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
    await this.#mayWrite()
    return this.#road.describeToken(call)
  }

  async refused(call: RefusedCall): Promise<Answer> {
    await this.#mayWrite()
    return this.#road.refused(call)
  }

  async read(call: ReadCall): Promise<Answer> {
    await this.#mayWrite()
    return this.#road.read(call)
  }

  async receipt(call: ReceiptCall): Promise<Answer> {
    await this.#mayWrite()
    return this.#road.receipt(call)
  }

  async update(call: Presented<UpdateCall | PatchCall>): Promise<Answer> {
    await this.#mayWrite()
    return this.#road.update(call)
  }

  async receive(call: WebhookCall): Promise<Answer> {
    await this.#mayWrite()
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
    if (!(await this.#mayWrite())) return this.#unwritable()
    const probed = await this.#prober.tryOut(call, body, this.#tables.exist)
    if (!probed.ok) {
      await this.#commit(() => undefined)
      return probed
    }
    if (!(await this.#comeIntoBeing(call))) return this.#unwritable()
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
    if (!(await this.#mayWrite()) || !this.#recorder.mayRecordRefusal()) return
    const who =
      'reader' in call
        ? { ...byReader(call), reason: 'insufficient-scope' }
        : { ...about(call), actor: { type: 'anonymous' as const }, reason: 'invalid-token' }
    this.#log.append({ ...who, event: 'admin.denied' }, Date.now())
    await this.#commit(() => undefined)
  }

  /** What may be asked of the log. */
  get audit(): AuditDesk {
    return this.#evidence.desk
  }

  /** What the console shows. */
  get console(): ConsoleReader {
    return this.#console
  }

  /** Called hourly: reads the probe, and tells the directory how this organisation stands. */
  async lookAfter(origin: Origin): Promise<void> {
    if (!this.#tables.exist) return
    if (!(await this.#evidence.look())) return
    await this.#prober.look(origin)
    this.#chores.watchStorage()
    await this.#commit(() => undefined)
    await this.#chores.publish()
  }

  // Coming into being, committing, and what is due

  /** The tables, with the first call that has something to keep: until then a guessed id has stored nothing. */
  async #comeIntoBeing({ organisationId, host }: AdminCall): Promise<boolean> {
    try {
      await this.#continuity.confirm()
      if (!this.#tables.exist) {
        this.ctx.storage.transactionSync(() => {
          this.#tables.migrate()
          this.#tables.insertOrganisation(organisationId, Date.now())
        })
        this.#tables.lookAgain()
        this.#load()
      }
    } catch {
      this.#tables.lookAgain()
      return false
    }
    this.#evidence.notary.noticeHost(host)
    return true
  }

  /** Whether the log may be written to, found out where that is not known yet. */
  async #mayWrite(): Promise<boolean> {
    if (!this.#continuity.open) await this.#continuity.confirm().catch(() => {})
    return this.#continuity.open
  }

  #unwritable(): ReturnType<typeof refuse> {
    return refuse({ code: 'audit-unavailable', detail: this.#continuity.objection })
  }

  async #commit<T>(value: () => T): Promise<Result<T>> {
    try {
      await this.#queue.committed()
    } catch {
      return this.#unwritable()
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
    const due = this.#agenda?.fired(Date.now())
    const open = this.#continuity?.open || (await this.#continuity?.again().catch(() => false))
    if (!due || !open) return this.ctx.storage.setAlarm(Date.now() + shutRetryMs).catch(() => {})
    for (const kind of due) {
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
