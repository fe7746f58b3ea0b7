import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import { askHosts, isAnswer } from '../../delivery/deployment/hosts.ts'
import { containerLabels } from '../../delivery/verification/verification.ts'
import { withHosts } from '../../settings.ts'
import { type Answer, addExample, type Perform, requireText } from '../command.ts'
import { table } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { type ChangeOptions, changeHosts, hostChanges } from './host-changes.ts'
import { labelled, nothing, type Opened, own, silenceOf, told } from './own-containers.ts'

interface HostOptions {
  env?: string
  host?: string
}

/** `crosscloud hosts …`: an environment's hosts, and the application's own containers on them. */
export function addHostCommands(
  program: Command,
  perform: Perform,
  { person: terminal }: Pick<ProcessEnvironment, 'person'>,
): void {
  const hosts = program
    .command('hosts')
    .description("An environment's hosts and the containers of this application on them.")
  const add = (name: string, description: string, example: string) => {
    const command = hosts
      .command(name)
      .description(description)
      .option('--env <name>', 'environment; default: CROSSCLOUD_ENV')
      .option('--host <name>', 'only this host')
    addExample(command, `hosts ${example}`)
    return command
  }
  const read = (
    command: Command,
    work: (context: Context, opened: Opened) => Promise<Answer>,
  ): void => {
    command.action(async (options: HostOptions) => {
      await perform(command, async (context) => work(context, await open(options, context)))
    })
  }
  read(add('list', 'The hosts, and whether they answer.', 'list --env test'), listHosts)
  read(
    add('containers', "The application's containers, stopped ones too.", 'containers --env test'),
    listContainers,
  )
  const logs = add('logs', 'What the running container printed last.', 'logs --env test').option(
    '--lines <number>',
    'how many lines of each',
    '100',
  )
  logs.action(async (options: HostOptions & { lines: string }) => {
    const lines = readLines(options.lines)
    await perform(logs, async (context) => showLogs(await open(options, context), lines, context))
  })
  for (const change of hostChanges) {
    const { verb, description } = change
    const command = add(verb, description, `${verb} --env test`)
      .option('--reason <text>', 'why; needed where a gate stands. Default: CROSSCLOUD_REASON')
      .option('--lock-wait <duration>', 'how long to wait while somebody else deploys there: 10m')
      .option('--yes', 'do not ask')
    command.action(async (options: HostOptions & ChangeOptions) => {
      await perform(command, async (context) =>
        changeHosts(change, options, context, await open(options, context), terminal),
      )
    })
  }
}

async function open({ env, host }: HostOptions, context: Context): Promise<Opened> {
  const name = requireText(env ?? context.variable('CROSSCLOUD_ENV'), '--env')
  const environment = await context.environment(name)
  const { app } = await context.settings()
  const known = environment.hosts.map((one) => one.name)
  const chosen = environment.hosts.filter((one) => host === undefined || one.name === host)
  if (host !== undefined && chosen.length === 0) {
    throw new StepError('INPUT_INVALID', `environment ${name} has no host "${host}"`, {
      hint: `Known hosts: ${known.join(', ') || 'none'}.`,
    })
  }
  return { app, environment: withHosts(environment, chosen) }
}

async function listHosts(context: Context, { environment }: Opened): Promise<Answer> {
  const answers = await askHosts(environment, context, (host) => host.ping())
  const rows = answers.map((answer) => {
    const { address = '' } = environment.hosts.find(({ name }) => name === answer.name) ?? {}
    const fault = isAnswer(answer) ? undefined : answer.fault.message
    return { host: answer.name, address, answers: fault === undefined, fault }
  })
  return {
    json: { hosts: rows },
    text: table(
      ['host', 'address', 'answers'],
      rows.map(({ host, address, fault }) => [host, address, fault ?? 'yes']),
    ),
    ...silenceOf(answers),
  }
}

async function listContainers(context: Context, opened: Opened): Promise<Answer> {
  const { found, failure } = await labelled(opened, context)
  const rows = found.map((one) => ({
    ...told(one),
    version: one.container.labels[containerLabels.version] ?? '',
    deployment: one.container.labels[containerLabels.deployment] ?? '',
    restarts: one.container.restarts,
  }))
  const { app, environment } = opened
  return {
    json: { containers: rows },
    text:
      rows.length === 0
        ? `No container of ${app} in ${environment.name}.`
        : table(
            ['host', 'container', 'version', 'state', 'restarts'],
            rows.map((one) => [one.host, one.name, one.version, stateOf(one), `${one.restarts}`]),
          ),
    ...(failure && { failure }),
  }
}

async function showLogs(opened: Opened, lines: number, context: Context): Promise<Answer> {
  const { found: all, failure } = await own(opened, context)
  const found = all.filter(({ container }) => container.name === opened.environment.containerName)
  if (found.length === 0) throw failure ?? nothing(opened)
  const logs = await Promise.all(
    found.map(async (one) => ({
      ...told(one),
      lines: await one.host.logs(one.container.id, lines),
    })),
  )
  const text = logs.flatMap(({ host, name, lines: said }) => [`== ${name} on ${host}`, ...said])
  return { json: { logs }, text: text.join('\n'), ...(failure && { failure }) }
}

function stateOf({ running, exitCode }: { running: boolean; exitCode?: number }): string {
  if (running) return 'running'
  return exitCode === undefined ? 'not started' : `ended with ${exitCode}`
}

function readLines(text: string): number {
  const lines = Number(text)
  if (Number.isInteger(lines) && lines > 0 && lines <= 10_000) return lines
  throw new StepError('INPUT_INVALID', `--lines "${text}" is not a number from 1 to 10000`)
}
