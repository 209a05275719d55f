// Makes the gateway's secrets. Run as a program (`npm run secrets`) it prints them with the commands that set
// them. It never writes to disk and never sends anything.
import { generateKeyPairSync, randomBytes } from 'node:crypto'

export interface Secrets {
  ADMIN_TOKEN: string
  AUDITOR_TOKEN: string
  SEALING_KEY: string
  AUDIT_SIGNING_KEY: string
}

/** `adminName` is the actor in records; what an administrator presents is the part after the colon. */
export function makeSecrets(adminName = 'admin'): Secrets {
  const { privateKey } = generateKeyPairSync('ed25519')
  return {
    ADMIN_TOKEN: `${adminName}:${randomBytes(32).toString('base64url')}`,
    AUDITOR_TOKEN: `auditor:${randomBytes(32).toString('base64url')}`,
    SEALING_KEY: randomBytes(32).toString('base64'),
    AUDIT_SIGNING_KEY: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
  }
}

/** Every line can be pasted as it stands: what is no command is a comment without a quote or a bracket. */
function commands(secrets: Secrets): string {
  return [
    '# New secrets. Nothing was stored or sent. Paste each command to set its secret:',
    ...Object.entries(secrets).map(
      ([name, value]) => `printf %s '${value}' | npx wrangler secret put ${name}`,
    ),
    '# Keep ADMIN_TOKEN and AUDITOR_TOKEN in a password manager first, as they cannot be read back once set.',
    '# AUDITOR_TOKEN may be left out. It reads what ADMIN_TOKEN reads, and changes nothing.',
    '# An administrator sends the part after the colon: Authorization: Bearer followed by that part.',
    '# Keep SEALING_KEY too. Without it the stored sessions cannot be opened and have to be set again.',
  ].join('\n')
}

if (import.meta.main) console.log(commands(makeSecrets()))
