import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Context } from '../../delivery/context.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import type { PolicySettings } from '../../policy/settings.ts'
import { SERVER_FILE } from '../../server/settings/roles.ts'
import type { ServerSettings } from '../../server/settings/settings.ts'
import type { ProcessEnvironment } from '../process-environment.ts'

export interface ServerOption {
  server?: string
}

export function addServerOption(command: Command): Command {
  return command.option('--server <file>', `settings of the server (default: ${SERVER_FILE})`)
}

export async function readQueue(
  { server = SERVER_FILE }: ServerOption,
  { cwd, secrets }: Context,
  { variables }: ProcessEnvironment,
): Promise<Pick<ServerSettings, 'queue' | 'folder'>> {
  const { readQueueSettings } = await import('../../server/settings/settings.ts')
  return readQueueSettings(resolve(cwd, server), variables, secrets)
}

export async function readServer(
  { server = SERVER_FILE }: ServerOption,
  { cwd, secrets }: Context,
  { variables }: ProcessEnvironment,
): Promise<ServerSettings> {
  const { readServerSettings } = await import('../../server/settings/settings.ts')
  return readServerSettings(resolve(cwd, server), variables, secrets)
}

export async function readPolicy(
  { server = SERVER_FILE }: ServerOption,
  { cwd, secrets }: Context,
  { variables }: ProcessEnvironment,
): Promise<PolicySettings> {
  const { readPolicySettings } = await import('../../server/settings/settings.ts')
  return readPolicySettings(resolve(cwd, server), variables, secrets)
}

export interface LedgerOption {
  /** `true` where no file is named. */
  server?: string | true
}

export function addLedgerOption(command: Command): Command {
  return command.option(
    '--server [file]',
    `in the ledger of the server's settings (default: ${SERVER_FILE}), not in that of crosscloud.yml`,
  )
}

/** Work on the ledger of crosscloud.yml, or with `--server` on the one that the server writes to. */
export async function withLedger<T>(
  { server }: LedgerOption,
  context: Context,
  { variables }: Pick<ProcessEnvironment, 'variables'>,
  work: (ledger: Ledger) => Promise<T>,
): Promise<T> {
  if (server === undefined) return work(await context.ledger())
  const [{ readLedgerSettings }, { openLedger }] = await Promise.all([
    import('../../server/settings/settings.ts'),
    import('../../ledger/open.ts'),
  ])
  const { cwd, secrets, signal } = context
  const path = resolve(cwd, fileOf(server))
  const { ledger: place, folder } = await readLedgerSettings(path, variables, secrets)
  const ledger = await openLedger(place, { folder, signal })
  try {
    return await work(ledger)
  } finally {
    // What was done stays done, and a token's secret is still to be printed.
    await Promise.allSettled([ledger.close()])
  }
}

const fileOf = (server: string | true) => (server === true ? SERVER_FILE : server)

/** Whether the server's policy has a grant for this API token. */
export async function isGranted(
  name: string,
  server: string | true,
  { cwd, secrets }: Context,
  { variables }: Pick<ProcessEnvironment, 'variables'>,
): Promise<boolean> {
  const { findPolicySettings } = await import('../../server/settings/settings.ts')
  const policy = await findPolicySettings(resolve(cwd, fileOf(server)), variables, secrets)
  return policy?.grants.some(({ who }) => who === `token:${name}`) ?? false
}
