/**
 * Owns the check of an admin secret. Never says which secret was nearly right: every one is compared, each in
 * constant time.
 */
import { equalDigests, sha256 } from '../crypto.ts'

/** The name of the admin whose secret was presented, or undefined. */
export function adminOf(
  presented: string,
  admins: readonly { name: string; digest: Uint8Array }[],
): string | undefined {
  const digest = sha256(presented)
  let name: string | undefined
  for (const admin of admins) {
    if (equalDigests(admin.digest, digest)) name = admin.name
  }
  return name
}
