import { join, resolve } from 'node:path'
import { toStepError } from '../errors.ts'
import { isInCheckout } from '../git/checkout.ts'
import type { Log } from '../log.ts'
import { homeFolder, ownHome } from './home.ts'
import { ownSecret } from './own-files.ts'

type Variables = Readonly<Record<string, string | undefined>>

const STATE = join('.local', 'state', 'crosscloud')

/** For what must outlive a job: a runner's own folder, never the checkout, which CI cleans. */
export function stateFolder(variables: Variables): string {
  return lastingFolder(variables) ?? join(homeFolder(variables), STATE)
}

/** The same, where the variables or a home of the user's own name such a folder. */
export function lastingFolder(variables: Variables): string | undefined {
  const { CROSSCLOUD_STATE, XDG_STATE_HOME } = variables
  if (CROSSCLOUD_STATE) return CROSSCLOUD_STATE
  if (XDG_STATE_HOME) return join(XDG_STATE_HOME, 'crosscloud')
  const home = ownHome(variables)
  return home && join(home, STATE)
}

export function cacheFolder(variables: Variables): string {
  return variables.CROSSCLOUD_CACHE ?? ownCacheFolder(variables)
}

function ownCacheFolder(variables: Variables): string {
  const { XDG_CACHE_HOME } = variables
  return join(XDG_CACHE_HOME ?? join(homeFolder(variables), '.cache'), 'crosscloud')
}

/** Undefined inside one of the checkouts: a commit could bring code of its own there. */
export function codeCacheFolder(
  variables: Variables,
  checkouts: readonly string[],
): string | undefined {
  const folder = join(ownCacheFolder(variables), 'code')
  return isInCheckout(folder, checkouts, variables) ? undefined : folder
}

/** Kept in the state folder, not beside the cache: what CI restores there brings no key along. */
export async function openSealKey(
  { cwd, variables, log }: { cwd: string; variables: Variables; log: Log },
  checkouts: readonly string[],
): Promise<Buffer | undefined> {
  const file = resolve(cwd, stateFolder(variables), 'cache.key')
  if (isInCheckout(file, checkouts, variables)) return undefined
  return ownSecret(file).catch((error: unknown) => {
    log.debug(`layers are not kept: ${toStepError(error).message}`)
    return undefined
  })
}
