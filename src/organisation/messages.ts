/**
 * Owns what the edge and the organisation's object say to each other. Plain values, as they are copied between
 * isolates. Never carries a token (its id and digest do) and never a session but the one that an admin sets.
 */
import type { Reader } from '../auth/admin.ts'
import type { Credential } from '../auth/token.ts'
import type { Effect, Refusal } from '../errors.ts'
import type { Update } from '../update/connection-version.ts'
import type { Change } from '../update/proposal.ts'
import type { Trace } from '../upstream/headers.ts'
import type { RateState } from './rates.ts'
import type { Client } from './record.ts'
import type { SessionView } from './session.ts'
import type { TokenView } from './tokens.ts'

/** Who asks, as the edge saw it. */
export interface Origin {
  organisationId: string
  requestId: string
  client: Client
}

/** A caller's request. `target` holds what of the path was acceptable. */
export interface Call extends Origin {
  credential: Credential
  target: { connectionId?: string; version?: string }
  trace: Trace
}

/** What a caller asks for, with what it presented. */
export type Presented<T> = T & { credential: Credential }

/** An admin's request; the edge has checked the secret. */
export interface AdminCall extends Origin {
  admin: string
  /** The host that was asked: a part of the log's name. */
  host: string
}

/** What an admin or an auditor reads; the edge has checked the secret. It can change nothing. */
export interface ReaderCall extends Origin {
  reader: Reader
}

/** What the console shows to someone who logged in to it at `loggedInAt`, milliseconds since 1970. */
export interface ConsoleCall extends ReaderCall {
  loggedInAt: number
}

/** A request that the edge has refused already: it still needs its caller checked and its record written. */
export interface RefusedCall extends Call {
  action: 'read' | 'update'
  /** The version's name in its body, as far as that was read. */
  named: string[]
  refusal: Refusal
}

/** A read of one version; both parts of the target have passed their rules. */
export interface ReadCall extends Call {
  target: { connectionId: string; version: string }
}

/** A PUT, or what a PATCH has become. */
export interface UpdateCall extends Conditions {
  update: Update
  /** Of the patch that it was made from. */
  patchSha256?: string
  /** What it changes of the version that was read before. */
  change?: Change
  /** The entity tag of the version that was read before. */
  base?: string | undefined
}

/** A PATCH: `patch` is JSON, to be merged into the version. */
export interface PatchCall extends Conditions {
  patch: string
}

interface Conditions extends Origin {
  target: { connectionId: string; version: string }
  trace: Trace
  /** The webhook delivery that it is made for. */
  delivery?: string
  idempotencyKey?: string
  /** The entity tags of an If-Match, or `*`. */
  ifMatch?: string[]
}

/** An event for a hook, as it was sent. */
export interface WebhookCall extends Origin {
  hookId: string
  /** Empty where there was too much of it, or not all. */
  body: Uint8Array
  /** By their names in lower case, credentials left out. */
  headers: Readonly<Record<string, string>>
  /** What stood behind `Bearer`, if anything did. */
  credential?: Credential | 'malformed'
  /** What the edge has against it: told to whoever proves to be the sender. */
  refusal?: Refusal
}

/** A caller asks for one of its records; `host` is part of the log's name. */
export interface ReceiptCall extends Call {
  seq: number
  host: string
}

/** How a caller's request ended. */
export interface Answer {
  result: { ok: true; status: number; body: string } | { ok: false; refusal: Refusal }
  /** What an update did to the platform. */
  effect?: Effect
  /** `<seq>:<leaf hash>` of the record that closes the request. */
  receipt?: string
  rate?: RateState
  /** This answer was given before, to the first request with this idempotency key. */
  replayed?: boolean
}

/** What `GET /o/{organisation_id}/token` tells of a token to its holder. */
export interface TokenSelf
  extends Pick<TokenView, 'id' | 'name' | 'actions' | 'connections' | 'versions' | 'expiresAt'> {
  rateLimit: RateState
  session: Pick<SessionView, 'state' | 'expiresAt'>
}

/** A token with what an incident needs: when it was last let in, and by which record. */
export type RevokedToken = TokenView & { lastAccepted: { time: string; seq: number } | null }
