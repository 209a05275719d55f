/** Owns what is under /admin: who may, and which file answers. Holds no logic of its own. */
import { admin, administrator, validOrganisation } from './admin.ts'
import { audit } from './audit.ts'
import { configured } from './context.ts'
import { hooks } from './hooks.ts'
import { part } from './part.ts'

export function administration() {
  const administration = part().basePath('/admin')

  administration.use(configured(), administrator())
  administration.use('/organisations/:organisation_id/*', validOrganisation())
  administration.route('/', admin())
  administration.route('/', hooks())
  administration.route('/', audit())
  return administration
}
