import type { Command } from 'commander'
import type { CommandResult, Perform } from '../command.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import {
  type ChangeOptions,
  changeInstances,
  type InstanceChange,
  instanceChanges,
} from './changes.ts'
import { addExec } from './exec.ts'
import { listEverything, listInstances } from './list.ts'
import { addLogs } from './logs.ts'
import { addHostCommand, type HostOptions, type Opened, open } from './open.ts'
import { maskConfig } from './print.ts'
import { showStats } from './stats.ts'
import { showThreads } from './threads.ts'

/** `crosscloud instances …`: the running copies of the application, looked at and changed by hand. */
export function addInstanceCommands(
  program: Command,
  perform: Perform,
  environment: ProcessEnvironment,
): void {
  const group = program
    .command('instances')
    .description('The instances of this application in an environment: containers on its hosts.')
  const read = (command: Command, work: (opened: Opened) => Promise<CommandResult>): void => {
    command.action(async (options: HostOptions) => {
      await perform(command, async (context) => work(await open(options, context)))
    })
  }
  const list = addHostCommand(
    group,
    'list',
    'The instances of the application, stopped ones too.',
    'list --env test',
  ).option('--all', "everything that its hosts run, other applications' too; to look at only")
  list.action(async (options: HostOptions & { all?: boolean }) => {
    const show = options.all ? listEverything : listInstances
    await perform(list, async (context) => show(await open(options, context)))
  })
  addLogs(group, perform, environment)
  for (const change of instanceChanges) addChange(change, group, perform, environment)
  addExec(group, perform, environment)
  read(
    addHostCommand(
      group,
      'stats',
      'What each instance uses now: processor, memory, restarts, time since its start.',
      'stats --env production',
    ),
    showStats,
  )
  const threads = addHostCommand(
    group,
    'threads',
    'What each thread of the Java virtual machine does now: its thread dump.',
    'threads --env production --host app-01',
  )
  threads.action(async (options: HostOptions) => {
    await perform(threads, async (context) =>
      showThreads(await open(options, context), context.signal),
    )
  })
}

/** Adds one of the commands that change instances to a group. */
export function addChange(
  change: InstanceChange,
  group: Command,
  perform: Perform,
  environment: Pick<ProcessEnvironment, 'person' | 'streams' | 'variables'>,
): Command {
  const { verb, description } = change
  const command = addHostCommand(group, verb, description, `${verb} --env test`)
    .option('--reason <text>', 'why; needed where a gate stands. Default: CROSSCLOUD_REASON')
    .option('--lock-wait <duration>', 'how long to wait while somebody else deploys there: 10m')
    .option('--yes', 'do not ask')
  command.action(async (options: HostOptions & ChangeOptions) => {
    await perform(command, async (context) => {
      const opened = await open(options, context)
      // What an instance says when it does not become healthy.
      if (verb === 'restart') await maskConfig(command, opened, context, environment)
      return changeInstances(change, options, context, opened, environment.person)
    })
  })
  return command
}
