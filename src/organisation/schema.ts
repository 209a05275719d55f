/**
 * Owns the schema of an organisation's object, and how an older one is brought up to date. The statements over it are
 * in tables.ts.
 */

/**
 * One entry a version, oldest first; never changed once released. Times are milliseconds since 1970. The tree's nodes
 * stand in the row of the record that completes them, so that they cost no row of their own.
 */
const migrations = [
  `create table organisation (id text not null, created_at integer not null);
   create table tokens (
     id text primary key, name text not null, digest blob not null, previous_digest blob, previous_until integer,
     scope text not null, rate_requests integer not null, rate_window_seconds integer not null,
     created_at integer not null, created_by text not null, lifetime_ms integer, expires_at integer, revoked_at integer
   ) without rowid;
   create table session (
     only_row integer primary key check (only_row = 1), generation integer not null, base_url text not null,
     sealed blob, names text not null, set_at integer, last_used_at integer, rejected integer not null,
     last_rejected_at integer
   );
   create table records (
     seq integer primary key, time integer not null, event text not null, actor text, connection_id text,
     version text, request_id text, attempt integer, open_from integer not null, intent text, record text not null,
     hashes blob not null
   );
   create index records_by_actor on records (actor);
   create index records_by_connection on records (connection_id);
   create index records_by_request on records (request_id);
   create table due (kind text primary key, at integer not null) without rowid;`,
  `create table unsettled (
     attempt integer primary key, connection_id text not null, looks integer not null, missed integer not null,
     next_at integer not null, until_at integer not null
   );
   create table idempotency (
     scope text primary key, fingerprint text not null, answer text, expires_at integer not null
   ) without rowid;
   create index idempotency_by_expiry on idempotency (expires_at);`,
  `alter table session add column owner text;
   alter table session add column expires_at integer;
   alter table session add column probe text;
   create table rates (token text primary key, started_at integer not null) without rowid;
   create table alerts (
     key text primary key, first_seq integer not null, last_seq integer not null, count integer not null,
     sent_first integer not null, sent_last integer not null, sent_count integer not null, tries integer not null,
     next_at integer not null
   ) without rowid;
   create table warned (subject text primary key, expires_at integer not null) without rowid;
   insert into due select 'expiries', 0 where exists (select 1 from tokens);`,
  `create table hooks (
     id text primary key, definition text not null, secrets text not null, created_at integer not null,
     created_by text not null
   ) without rowid;
   create table deliveries (
     id text primary key, hook text not null, key text not null, digest text not null, seq integer not null,
     request_id text not null, message_id text, token text, connection_id text not null, version text, patch text,
     state text not null, tries integer not null, failure text, received_at integer not null, since integer not null,
     next_at integer not null, ended_at integer, closed_by integer
   ) without rowid;
   create unique index deliveries_by_key on deliveries (hook, key);
   create index deliveries_by_hook on deliveries (hook, seq);
   create index deliveries_by_state on deliveries (hook, state, seq);
   create table payloads (delivery text primary key, body blob not null, headers text not null);
   create table deleted_hooks (id text primary key) without rowid;`,
  // An attempt stands in no index: it is found by the record that closes it, see record-search.ts.
  `drop index records_by_actor;
   drop index records_by_connection;
   drop index records_by_request;
   create index records_by_actor on records (actor) where event <> 'update.attempted';
   create index records_by_connection on records (connection_id) where event <> 'update.attempted';
   create index records_by_request on records (request_id) where event <> 'update.attempted';`,
  `create table signing_key (only_row integer primary key check (only_row = 1), public_key text not null);`,
  `create table archive (
     only_row integer primary key check (only_row = 1), host text, segments integer not null,
     checkpointed integer not null, dropped integer not null, acknowledged text
   );
   insert into archive values (1, null, 0, 0, 0, null);`,
]

/** Makes the tables, or brings them up to date; one transaction must be around it. */
export function migrate(sql: SqlStorage): void {
  sql.exec('create table if not exists schema (version integer not null)')
  const row = sql.exec<{ version: number }>('select version from schema').toArray()[0]
  if (!row) sql.exec('insert into schema values (0)')
  const version = row?.version ?? 0
  for (const statements of migrations.slice(version)) sql.exec(statements)
  if (version < migrations.length) sql.exec('update schema set version = ?', migrations.length)
}
