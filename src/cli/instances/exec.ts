import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import { hidePlacedSecrets } from '../../delivery/config/known-secrets.ts'
import type { Context } from '../../delivery/context.ts'
import { guardChange, recordAct, withLockOf } from '../../delivery/gate/guard.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { CommandResult, Perform } from '../command.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import {
  addHostCommand,
  current,
  type HostOptions,
  lockRequestOf,
  type Opened,
  open,
  placeOf,
} from './open.ts'
import { linePrinter, maskConfig, namePrefixes, warnOf } from './print.ts'

interface ExecOptions extends HostOptions {
  reason?: string
  lockWait?: string
  breakGlass?: boolean
}

/** `instances exec`: what such a command changes, nobody approved and nothing has proven. */
export function addExec(group: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addHostCommand(
    group,
    'exec',
    'Run a command in the instances, without a shell, a terminal or input; its exit code is handed on.',
    'exec --env test --host app-01 -- ls -l /tmp',
  )
    .argument('<command...>', 'what to run, after --')
    .option('--reason <text>', 'why; the ledger keeps it. Default: CROSSCLOUD_REASON')
    .option('--lock-wait <duration>', 'how long to wait while somebody else deploys there: 10m')
    .option('--break-glass', 'where a gate stands: for people whom it names')
  command.action(async (words: string[], options: ExecOptions) => {
    await perform(command, async (context) => {
      const print = linePrinter(command, context, environment)
      const opened = await open(options, context)
      await maskConfig(command, opened, context, environment)
      const warn = (lack: string | undefined) => warnOf(lack, command, context, environment)
      return runEverywhere(words, options, context, opened, { print, warn })
    })
  })
}

interface Told {
  print: ReturnType<typeof linePrinter>
  warn(lack: string | undefined): void
}

async function runEverywhere(
  command: readonly string[],
  options: ExecOptions,
  context: Context,
  opened: Opened,
  { print, warn }: Told,
): Promise<CommandResult> {
  const { environment, target } = opened
  const action = 'instances exec'
  const reason = options.reason ?? context.variable('CROSSCLOUD_REASON')
  const { breakGlass = false } = options
  if (!breakGlass) refuseAtGate(environment)
  const change = { environment, action, reason, waitsForFreeze: false, breakGlass }
  const who = await guardChange(change, context)
  const { lockWait } = options
  const request = lockRequestOf(opened, { action, reason, lockWait }, context)
  return withLockOf(who, request, context, async (lock) => {
    const { found, failure } = await current(opened)
    if (failure) throw failure
    warn(await hidePlacedSecrets(found, environment, target, context))
    const what = context.secrets.mask(command.join(' '))
    const subject = `${found.map(placeOf).join(', ')}: ${what}`
    await recordAct(action, { environment: environment.name, subject, reason }, who, context)
    const prefix = namePrefixes(found)
    const results = []
    for (const instance of found) {
      await lock.check()
      const output: { stream: string; text: string }[] = []
      const exitCode = await target.exec(instance, command, {
        signal: context.signal,
        onLine(text, stream) {
          output.push({ stream, text: context.secrets.mask(text) })
          print(`${prefix(instance)}${text}`, stream)
        },
      })
      results.push({ host: instance.host, name: instance.name, exitCode, output })
      if (exitCode !== 0) break
    }
    const exitCode = results.at(-1)?.exitCode ?? 0
    return { json: { instances: results }, text: '', printed: true, exitCode }
  })
}

function refuseAtGate({ name, gate }: EnvironmentSettings): void {
  if (gate === undefined) return
  throw new StepError(
    'GATE_CLOSED',
    `${name} has a gate, and a command could change what was approved for it`,
    {
      hint: `To look, use \`crosscloud instances logs --env ${name}\`, \`stats\` or \`threads\`. Whom gate.break-glass names may add \`--break-glass\` with \`--reason\`.`,
    },
  )
}
