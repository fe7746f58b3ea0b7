import type { Command } from 'commander'
import { toStepError } from '../../core/errors.ts'
import { joinErrors } from '../../core/settle-all.ts'
import type { Context } from '../../delivery/context.ts'
import type { CommandResult, Perform } from '../command.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { showFile } from './files.ts'
import { followLog } from './follow.ts'
import {
  checkOptions,
  type LogOptions,
  type LogRequest,
  readPattern,
  readQuery,
} from './log-request.ts'
import { lastOf, mergeByTime, only } from './merge.ts'
import { addHostCommand, current, type Labelled, type Opened, open } from './open.ts'
import { linePrinter, maskConfig, namePrefixes } from './print.ts'

export function addLogs(group: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addHostCommand(
    group,
    'logs',
    'What the instances printed, those of several hosts in one order of time.',
    'logs --env test --since 10m --grep "ERROR|WARN"',
  )
    .option('--follow', 'go on with what they print; Ctrl-C ends it')
    .option('--since <time>', 'only what was printed since: 10m, 2h, or 2026-01-31T12:00:00Z')
    .option('--until <time>', 'only what was printed before')
    .option('--grep <pattern>', 'only lines that match, a regular expression of JavaScript')
    .option('--lines <number>', 'how many of the last of each (default: 100; with --since: all)')
    .option(
      '--file <path>',
      "a file instead, from Tomcat's folder on: logs/localhost.*.log, the newest",
    )
  command.action(async (options: LogOptions) => {
    checkOptions(options, command.optsWithGlobals<{ json?: boolean }>().json ?? false)
    const query = readQuery(options, Date.now())
    const matches = readPattern(options.grep)
    await perform(command, async (context) => {
      const opened = await open(options, context)
      await maskConfig(command, opened, context, environment)
      const print = linePrinter(command, context, environment)
      const request = { query, matches, print }
      if (options.file !== undefined) return showFile(options.file, request, opened, context)
      const found = await current(opened)
      return options.follow
        ? follow(request, found, opened, context, environment.hangUp)
        : show(request, found, opened, context)
    })
  })
}

/** All of the lines that are there now. */
async function show(
  { query, matches, print }: LogRequest,
  { found, failure: silent }: Labelled,
  { target }: Opened,
  { signal, secrets }: Context,
): Promise<CommandResult> {
  const errors = silent ? [silent] : []
  const prefix = namePrefixes(found)
  const { lines: most } = query
  const sources = found.map((instance) => {
    // An engine counts lines before they are looked at.
    const asked = matches ? { ...query, lines: undefined } : query
    const all = target.readLog(instance, asked, signal)
    const wanted = matches ? only(all, matches) : all
    return { instance, lines: matches && most !== undefined ? lastOf(wanted, most) : wanted }
  })
  const lines = []
  for await (const { instance, at, text } of mergeByTime(sources, (error) => errors.push(error))) {
    lines.push({ host: instance.host, name: instance.name, at, text: secrets.mask(text) })
    print(`${prefix(instance)}${text}`)
  }
  const failure = joinErrors(errors)
  return { json: { lines }, text: '', printed: true, ...(failure && { failure }) }
}

/** Lines as they come, until Ctrl-C or the end of the terminal. */
async function follow(
  { query, matches, print }: LogRequest,
  { found, failure: silent }: Labelled,
  { target }: Opened,
  { signal }: Context,
  hangUp: AbortSignal | undefined,
): Promise<CommandResult> {
  const ended = AbortSignal.any(hangUp ? [signal, hangUp] : [signal])
  const errors = silent ? [silent] : []
  // Beside the lines, which another program may read.
  const say = (text: string) => print(`-- ${text}`, 'stderr')
  if (silent) say(silent.message)
  const prefix = namePrefixes(found)
  const one = async (instance: (typeof found)[number]) => {
    try {
      for await (const { text } of followLog(target, instance, query, { signal: ended, say })) {
        if (!matches || matches(text)) print(`${prefix(instance)}${text}`)
      }
    } catch (error) {
      const known = toStepError(error)
      say(known.message)
      errors.push(known)
    }
  }
  await Promise.all(found.map(one))
  const failure = joinErrors(errors)
  return { json: {}, text: '', printed: true, ...(failure && { failure }) }
}
