import { resolve } from 'node:path'
import type { Command } from 'commander'
import { SERVER_FILE } from '../../server/roles.ts'
import type { ServerSettings } from '../../server/settings.ts'
import type { Context } from '../../steps/step.ts'
import type { Surroundings } from '../program.ts'

export interface ServerOption {
  server?: string
}

export function addServerOption(command: Command): Command {
  return command.option('--server <file>', `settings of the server (default: ${SERVER_FILE})`)
}

export async function readQueue(
  { server = SERVER_FILE }: ServerOption,
  { cwd, secrets }: Context,
  { variables }: Surroundings,
): Promise<Pick<ServerSettings, 'queue' | 'folder'>> {
  const { readQueueSettings } = await import('../../server/settings.ts')
  return readQueueSettings(resolve(cwd, server), variables, secrets)
}

export async function readServer(
  { server = SERVER_FILE }: ServerOption,
  { cwd, secrets }: Context,
  { variables }: Surroundings,
): Promise<ServerSettings> {
  const { readServerSettings } = await import('../../server/settings.ts')
  return readServerSettings(resolve(cwd, server), variables, secrets)
}
