import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import { withHosts } from '../../settings.ts'
import { instanceLabels } from '../../targets/labels.ts'
import { failureOf, isFailure } from '../../targets/responses.ts'
import { addExample, type CommandResult, type Perform, requireText } from '../command.ts'
import { table } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { type ChangeOptions, changeHosts, hostChanges } from './host-changes.ts'
import { describeInstance, labelled, nothing, type Opened, own } from './own-containers.ts'

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
  const read = (command: Command, work: (opened: Opened) => Promise<CommandResult>): void => {
    command.action(async (options: HostOptions) => {
      await perform(command, async (context) => work(await open(options, context)))
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
    await perform(logs, async (context) => showLogs(await open(options, context), lines))
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
  const meant = withHosts(environment, chosen)
  return { app, environment: meant, target: await context.target(meant) }
}

async function listHosts({ environment, target }: Opened): Promise<CommandResult> {
  const responses = await target.ping()
  const rows = responses.map((response) => {
    const { host } = response
    const address = environment.hosts.find(({ name }) => name === host)?.address.text ?? ''
    const fault = isFailure(response) ? response.error.message : undefined
    return { host, address, answers: fault === undefined, fault }
  })
  const failure = failureOf(responses)
  return {
    json: { hosts: rows },
    text: table(
      ['host', 'address', 'answers'],
      rows.map(({ host, address, fault }) => [host, address, fault ?? 'yes']),
    ),
    ...(failure && { failure }),
  }
}

async function listContainers(opened: Opened): Promise<CommandResult> {
  const { found, failure } = await labelled(opened)
  const rows = found.map((instance) => ({
    ...describeInstance(instance),
    version: instance.labels[instanceLabels.version] ?? '',
    deployment: instance.labels[instanceLabels.deployment] ?? '',
    restarts: instance.restarts,
  }))
  const { app, environment } = opened
  return {
    json: { containers: rows },
    text:
      rows.length === 0
        ? `No container of ${app} in ${environment.name}.`
        : table(
            ['host', 'container', 'version', 'state', 'restarts'],
            rows.map((row) => [row.host, row.name, row.version, stateOf(row), `${row.restarts}`]),
          ),
    ...(failure && { failure }),
  }
}

async function showLogs(opened: Opened, lines: number): Promise<CommandResult> {
  const { found: all, failure } = await own(opened)
  const found = all.filter(({ role }) => role === 'current')
  if (found.length === 0) throw failure ?? nothing(opened)
  const logs = await Promise.all(
    found.map(async (instance) => ({
      ...describeInstance(instance),
      lines: await opened.target.logs(instance, lines),
    })),
  )
  const text = logs.flatMap(({ host, name, lines }) => [`== ${name} on ${host}`, ...lines])
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
