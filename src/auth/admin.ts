/**
 * Owns the check of an admin's or auditor's secret. Never says which secret was nearly right: every one is compared, each
 * in constant time.
 */
import { equalDigests, sha256 } from '../crypto.ts'

interface Holder {
  name: string
  digest: Uint8Array
}

/** Whoever may read under /admin and in the console. An auditor may change nothing. */
export interface Reader {
  role: 'admin' | 'auditor'
  name: string
}

/** The secrets of both roles. */
export interface Holders {
  admins: readonly Holder[]
  auditors: readonly Holder[]
}

/** Whose secret was presented, with its digest, or undefined. */
export function readerOf(
  presented: string,
  { admins, auditors }: Holders,
): (Reader & { digest: Uint8Array }) | undefined {
  const digest = sha256(presented)
  const admin = holderOf(digest, admins)
  const auditor = holderOf(digest, auditors)
  if (admin) return { role: 'admin', ...admin }
  return auditor && { role: 'auditor', ...auditor }
}

function holderOf(digest: Uint8Array, holders: readonly Holder[]): Holder | undefined {
  let found: Holder | undefined
  for (const holder of holders) {
    if (equalDigests(holder.digest, digest)) found = holder
  }
  return found
}
