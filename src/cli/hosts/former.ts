import type { Command } from 'commander'
import type { CommandResult, Perform } from '../command.ts'
import { type ChangeOptions, changeInstances, instanceChanges } from '../instances/changes.ts'
import { instanceTable, rowOf } from '../instances/list.ts'
import { readLines } from '../instances/log-request.ts'
import {
  addHostCommand,
  current,
  describeInstance,
  type HostOptions,
  labelled,
  type Opened,
  open,
  placeOf,
} from '../instances/open.ts'
import type { ProcessEnvironment } from '../process-environment.ts'

/** Names of the first version for what is `instances …` now: they answer as they did, and say so. */
export function addFormerCommands(
  group: Command,
  perform: Perform,
  { person, streams }: Pick<ProcessEnvironment, 'person' | 'streams'>,
): void {
  // Beside the output, which is as it was.
  const warn = (name: string, now: string) =>
    streams.stderr(
      `warning: \`hosts ${name}\` is called \`instances ${now}\` now; the old name will go\n`,
    )
  const add = (name: string, now: string) =>
    addHostCommand(group, name, `The former name of \`instances ${now}\`.`, `${name} --env test`)
  const containers = add('containers', 'list')
  containers.action(async (options: HostOptions) => {
    await perform(containers, async (context) => {
      warn('containers', 'list')
      return listContainers(await open(options, context))
    })
  })
  const logs = add('logs', 'logs').option('--lines <number>', 'how many lines of each', '100')
  logs.action(async (options: HostOptions & { lines: string }) => {
    const lines = readLines(options.lines, 10_000)
    await perform(logs, async (context) => {
      warn('logs', 'logs')
      return showLogs(await open(options, context), lines)
    })
  })
  for (const change of instanceChanges.filter(({ former }) => former)) {
    const { verb } = change
    const command = add(verb, verb)
      .option('--reason <text>', 'why; needed where a gate stands. Default: CROSSCLOUD_REASON')
      .option('--lock-wait <duration>', 'how long to wait while somebody else deploys there: 10m')
      .option('--yes', 'do not ask')
    command.action(async (options: HostOptions & ChangeOptions) => {
      await perform(command, async (context) => {
        warn(verb, verb)
        return changeInstances(change, options, context, await open(options, context), person)
      })
    })
  }
}

async function listContainers(opened: Opened): Promise<CommandResult> {
  const { found, failure } = await labelled(opened)
  const { app, environment } = opened
  return {
    json: { containers: found.map(rowOf) },
    text:
      found.length === 0
        ? `No container of ${app} in ${environment.name}.`
        : instanceTable('container', found),
    ...(failure && { failure }),
  }
}

async function showLogs(opened: Opened, lines: number): Promise<CommandResult> {
  const { found, failure } = await current(opened)
  const logs = await Promise.all(
    found.map(async (instance) => ({
      ...describeInstance(instance),
      lines: await opened.target.logs(instance, lines),
    })),
  )
  const text = logs.flatMap((log) => [`== ${placeOf(log)}`, ...log.lines])
  return { json: { logs }, text: text.join('\n'), ...(failure && { failure }) }
}
