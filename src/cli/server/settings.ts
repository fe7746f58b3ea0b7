import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Context } from '../../delivery/context.ts'
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
