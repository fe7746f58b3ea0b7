import type { Command } from 'commander'
import type { Context } from '../../delivery/context.ts'
import { type CommandResult, type Perform, requireText } from '../command.ts'
import { addHostCommand, type HostOptions, type Opened, open } from '../instances/open.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { checkHosts, listHosts } from './check.ts'
import { addFormerCommands } from './former.ts'
import { addImageCommands } from './images.ts'
import { PROXIES, printProxyConfig } from './proxy-config.ts'

/** `crosscloud hosts …`: where an environment's instances run. */
export function addHostCommands(
  program: Command,
  perform: Perform,
  environment: Pick<ProcessEnvironment, 'person' | 'streams'>,
): void {
  const group = program
    .command('hosts')
    .description("An environment's hosts: what they are, and the images that they keep.")
  const read = (
    command: Command,
    work: (opened: Opened, context: Context) => Promise<CommandResult>,
  ): void => {
    command.action(async (options: HostOptions) => {
      await perform(command, async (context) => work(await open(options, context), context))
    })
  }
  const add = (name: string, description: string, example: string) =>
    addHostCommand(group, name, description, example)
  read(add('list', 'The hosts, and whether they answer.', 'list --env test'), listHosts)
  read(
    add(
      'check',
      'What each host says of itself, and what may go wrong there. Changes nothing.',
      'check --env production',
    ),
    checkHosts,
  )
  const proxy = add(
    'proxy-config',
    'What to paste once into the proxy in front of the hosts, filled in.',
    'proxy-config --env production --kind haproxy',
  ).option('--kind <name>', `${PROXIES.join(', ')}; default: that of the settings, else nginx`)
  proxy.action(async (options: HostOptions & { kind?: string }) => {
    await perform(proxy, async (context) => {
      const name = requireText(options.env ?? context.variable('CROSSCLOUD_ENV'), '--env')
      return printProxyConfig(options.kind, await context.environment(name), context)
    })
  })
  addImageCommands(group, perform, environment)
  addFormerCommands(group, perform, environment)
}
