import type { Command } from 'commander'
import { type Perform, requireText } from '../command.ts'
import { addHostCommand, type HostOptions, open } from '../instances/open.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { checkHosts, listHosts } from './check.ts'
import { addFormerCommands } from './former.ts'
import { addImageCommands } from './images.ts'
import { PROXIES, printProxyConfig } from './proxy-config.ts'
import { checkTrialOptions, type TrialOptions, trialText, tryToStop } from './try-stop.ts'

function addCheck(
  group: Command,
  perform: Perform,
  { person }: Pick<ProcessEnvironment, 'person'>,
): void {
  const command = addHostCommand(
    group,
    'check',
    'What each host says of itself, and what may go wrong there. Changes nothing without --try-stop.',
    'check --env production',
  )
    .option(
      '--try-stop',
      'start the release in a container of its own on the first host, and stop it at work',
    )
    .option('--release <name>', 'with --try-stop: this release (default: what runs there)')
    .option('--slow <path>', 'with --try-stop: a page that takes some 5 s, as /orders?ms=5000')
    .option('--reason <text>', 'why; needed where a gate stands. Default: CROSSCLOUD_REASON')
    .option('--lock-wait <duration>', 'how long to wait while somebody else deploys there: 10m')
    .option('--yes', 'do not ask')
  command.action(async (options: TrialOptions) => {
    checkTrialOptions(options)
    await perform(command, async (context) => {
      const opened = await open(options, context)
      const check = await checkHosts(opened, context)
      if (!options.tryStop) return check
      const tried = await tryToStop(options, opened, context, person)
      return {
        ...check,
        json: { ...check.json, trial: { release: tried.release, ...tried.trial } },
        text: `${check.text}\n\n${trialText(tried)}`,
      }
    })
  })
}

/** `crosscloud hosts …`: where an environment's instances run. */
export function addHostCommands(
  program: Command,
  perform: Perform,
  environment: Pick<ProcessEnvironment, 'person' | 'streams'>,
): void {
  const group = program
    .command('hosts')
    .description("An environment's hosts: what they are, and the images that they keep.")
  const add = (name: string, description: string, example: string) =>
    addHostCommand(group, name, description, example)
  const list = add('list', 'The hosts, and whether they answer.', 'list --env test')
  list.action(async (options: HostOptions) => {
    await perform(list, async (context) => listHosts(await open(options, context)))
  })
  addCheck(group, perform, environment)
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
