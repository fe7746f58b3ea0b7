import type { Command } from 'commander'
import { StepError } from '../core/errors.ts'
import { duration } from '../core/schema.ts'
import { type EnvironmentSettings, withHosts } from '../settings.ts'
import { withLock } from '../steps/deployment-lock.ts'
import {
  askHosts,
  type Answer as HostAnswer,
  isAnswer,
  isSilent,
  joinFaults,
} from '../steps/hosts.ts'
import type { Context } from '../steps/step.ts'
import { containerLabels } from '../steps/verification.ts'
import { nameOf, roles } from '../target/mend.ts'
import type { ContainerInfo, Host } from '../target/target.ts'
import { type Answer, addExample, type Perform, requireText } from './command.ts'
import { table } from './output.ts'
import { agree, type Terminal } from './surface.ts'

interface HostOptions {
  env?: string
  host?: string
}

interface ChangeOptions extends HostOptions {
  reason?: string
  lockWait?: string
  yes?: boolean
}

/** A container of ours and where it is. */
interface Found {
  host: Host
  container: ContainerInfo
}

/** `crosscloud hosts …`: an environment's hosts, and the application's own containers on them. */
export function addHostCommands(program: Command, perform: Perform, terminal: Terminal): void {
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
  for (const change of changes) {
    const { verb, description } = change
    const command = add(verb, description, `${verb} --env test`)
      .option('--reason <text>', 'why; whoever wants to deploy meanwhile reads it')
      .option('--lock-wait <duration>', 'how long to wait while somebody else deploys there: 10m')
      .option('--yes', 'do not ask')
    command.action(async (options: ChangeOptions) => {
      await perform(command, async (context) =>
        carryOut(change, options, context, await open(options, context), terminal),
      )
    })
  }
}

interface Opened {
  app: string
  /** With the hosts that are meant. */
  environment: EnvironmentSettings
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

/** What the other hosts answered is shown all the same. */
function silenceOf(answers: readonly HostAnswer<unknown>[]): Pick<Answer, 'failure'> {
  const failure = joinFaults(answers.filter(isSilent).map(({ fault }) => fault))
  return failure ? { failure } : {}
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

interface Change {
  verb: 'start' | 'stop' | 'rm'
  description: string
  done: string
  /** Whether the old containers that a rollback would need are meant, too. */
  all: boolean
  question: string
  work(one: Found, stopTimeout: number): Promise<void>
}

const changes: readonly Change[] = [
  {
    verb: 'start',
    description: 'Start the container that was stopped.',
    done: 'started',
    all: false,
    question: 'Start',
    work: ({ host, container }) => host.start(container.id),
  },
  {
    verb: 'stop',
    description: 'Stop the container; a deployment or `hosts start` brings it back.',
    done: 'stopped',
    all: false,
    question: 'Stop',
    work: ({ host, container }, seconds) => host.stop(container.id, seconds),
  },
  {
    verb: 'rm',
    description: 'Stop and remove the container and the old ones beside it.',
    done: 'removed',
    all: true,
    question: 'Remove',
    async work({ host, container }, seconds) {
      if (container.running) await host.stop(container.id, seconds)
      await host.remove(container.id)
    },
  },
]

/** Changes containers under the environment's lock, so that no deployment is cut in half by it. */
async function carryOut(
  change: Change,
  options: ChangeOptions,
  context: Context,
  opened: Opened,
  terminal: Terminal,
): Promise<Answer> {
  const { app, environment } = opened
  const names =
    environment.hosts.length === 0 ? 'no host' : environment.hosts.map(({ name }) => name)
  const question = `${change.question} ${environment.containerName} on ${names}?`
  await agree(terminal, question, options.yes ?? false)
  const request = {
    ...{ app, environment: environment.name },
    reason: options.reason ?? `hosts ${change.verb}`,
    patience: readPatience(options.lockWait ?? context.variable('CROSSCLOUD_LOCK_WAIT')),
  }
  return withLock(request, context, async (lock) => {
    const { found: all, failure } = await own(opened, context)
    if (failure) throw failure
    const found = all.filter(
      ({ container }) => change.all || container.name === environment.containerName,
    )
    // What is to be gone may be gone; what is to run or to rest must be there.
    if (found.length === 0 && change.verb !== 'rm') throw nothing(opened)
    for (const one of found) {
      await lock.check()
      await change.work(one, environment.container.stopTimeout)
      context.log.info(`${one.host.name}: ${change.done} ${one.container.name}`)
    }
    const containers = found.map(({ host, container: { name } }) => ({ host: host.name, name }))
    return { json: { [change.done]: containers }, text: summary(change, containers.length) }
  })
}

/** Each container was told when it was done. */
function summary({ done }: Change, count: number): string {
  if (count === 0) return 'Nothing was there.'
  return count === 1 ? `1 container was ${done}.` : `${count} containers were ${done}.`
}

/** Containers, and the hosts that could not be asked. */
interface Labelled {
  found: Found[]
  failure: StepError | undefined
}

/** All containers with this application's and environment's labels. */
async function labelled({ app, environment }: Opened, context: Context): Promise<Labelled> {
  const labels = {
    [containerLabels.application]: app,
    [containerLabels.environment]: environment.name,
  }
  const answers = await askHosts(environment, context, (host) => host.list(labels))
  const found = answers
    .filter(isAnswer)
    .flatMap(({ host, value }) => value.map((container): Found => ({ host, container })))
  const { failure } = silenceOf(answers)
  return { found: found.sort((a, b) => (told(a).name < told(b).name ? -1 : 1)), failure }
}

/**
 * Those of them that have this environment's container name. The label alone is not enough: the
 * merge requests of one environment differ only in the name.
 */
async function own(opened: Opened, context: Context): Promise<Labelled> {
  const names = new Set(roles.map((role) => nameOf(opened.environment.containerName, role)))
  const { found, failure } = await labelled(opened, context)
  return { found: found.filter(({ container }) => names.has(container.name)), failure }
}

const told = ({ host, container: { name, id, running, exitCode } }: Found) => ({
  ...{ host: host.name, name, id, running },
  ...(exitCode !== undefined && { exitCode }),
})

function stateOf({ running, exitCode }: { running: boolean; exitCode?: number }): string {
  if (running) return 'running'
  return exitCode === undefined ? 'not started' : `ended with ${exitCode}`
}

function nothing({ app, environment }: Opened): StepError {
  const what = `no container ${environment.containerName} of ${app} in ${environment.name}`
  return new StepError('NOT_FOUND', what, {
    hint: `crosscloud hosts containers --env ${environment.name} lists what is there.`,
  })
}

function readLines(text: string): number {
  const lines = Number(text)
  if (Number.isInteger(lines) && lines > 0 && lines <= 10_000) return lines
  throw new StepError('INPUT_INVALID', `--lines "${text}" is not a number from 1 to 10000`)
}

function readPatience(text: string | undefined): number {
  if (!text) return 0
  const parsed = duration.safeParse(text)
  if (parsed.success) return parsed.data
  throw new StepError('INPUT_INVALID', `--lock-wait ${parsed.error.issues[0]?.message}`)
}
