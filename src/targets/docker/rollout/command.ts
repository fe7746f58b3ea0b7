import { isStepError, StepError, toStepError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import { withoutControls } from '../../../core/plain-text.ts'
import type { OneOff, RolloutCommands } from '../../target.ts'
import { besideOf } from '../beside.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'
import { throwIfStopped } from './change.ts'
import type { RolloutOptions } from './options.ts'
import { refuseForeign } from './owner.ts'
import { removeOrKeep } from './repair.ts'
import { refuseYounger } from './younger.ts'

const oneOffs: readonly OneOff[] = ['before', 'after']

/** What is kept of a command's output: its last lines, each cut off. */
const KEPT_LINES = 30
const LONGEST_LINE = 400

const nameOf = (name: string, which: OneOff) => `${name}.${which}`

/**
 * Runs a command once in the new image, in a container of its own beside the one that serves: with
 * the same variables, files and network, without its ports. Its exit code decides. It is killed when
 * the rollout is cancelled and after its time limit, and its container is removed in any case.
 */
export async function runCommand(
  which: OneOff,
  host: Host | undefined,
  options: RolloutOptions,
): Promise<void> {
  const { commands, log } = options
  const argv = commands?.[which]
  if (!host || !commands || !argv) return
  await throwIfStopped(options)
  await log.section(`${which}: ${argv.join(' ')} on ${host.name}`, async () => {
    const container = await host.create(specOf(which, argv, options.spec))
    let begun: number | undefined
    try {
      await throwIfStopped(options)
      await commands.onStart(which, host.name)
      begun = Date.now()
      const lines = await waitForSuccess(which, { host, id: container.id }, commands, options)
      const duration = Date.now() - begun
      log.info(`${which} has succeeded after ${seconds(duration)}`)
      await commands.onEnd(which, { duration, lines })
    } catch (error) {
      const end = await endContainer(host, container, log)
      throw isStepError(error, 'CANCELLED')
        ? cutShort(which, host, error, { begun, ...end })
        : error
    }
    await endContainer(host, container, log)
  })
}

interface End {
  isStarted: boolean
  /** Undefined where it was at work until then, or nobody knows. */
  exitCode: number | undefined
  /** Its container, as far as it is still there. */
  left: string | undefined
}

/** Kills a command that is still at work. */
async function endContainer(host: Host, { id, name }: ContainerInfo, log: Log): Promise<End> {
  const found = await host.inspect(id).catch(() => undefined)
  const exitCode = found?.running ? undefined : found?.exitCode
  const isStarted = found === undefined || found.running || exitCode !== undefined
  try {
    await host.remove(id)
    return { isStarted, exitCode, left: undefined }
  } catch (error) {
    log.warn(`${toStepError(error).message}; the next deployment removes ${name}`)
    return { isStarted, exitCode, left: name }
  }
}

/** What became of a command when the deployment was cancelled; its last lines stay in the message. */
function cutShort(
  which: OneOff,
  host: Host,
  error: StepError,
  { begun = Date.now(), isStarted, exitCode, left }: End & { begun: number | undefined },
): StepError {
  const [reason = '', ...lines] = error.message.split('\n')
  const after = `after ${seconds(Date.now() - begun)}`
  const ends = {
    never: 'was not started',
    itself: `ended by itself with exit code ${exitCode} ${after}`,
    killed: left === undefined ? `was killed at its work ${after}` : 'may still be at work',
  }
  const end = !isStarted ? 'never' : exitCode === undefined ? 'killed' : 'itself'
  const container =
    left === undefined
      ? 'its container is removed'
      : `its container ${left} could not be removed, which the next deployment does`
  const hosts = which === 'before' ? ['no host was changed'] : []
  const summary = `host ${host.name}: ${reason}: ${[`${which} ${ends[end]}`, container, ...hosts].join('; ')}`
  const hint = !isStarted
    ? 'Run the same command again.'
    : 'What it has done so far stays. Its last lines are above, and in the ledger (`crosscloud history --json`). Look at what it did, then run the same command again: it starts anew.'
  return error.with({ message: [summary, ...lines].join('\n'), summary, hint })
}

function specOf(which: OneOff, command: readonly string[], wanted: ContainerSpec): ContainerSpec {
  const spec = besideOf(wanted)
  const settings = { ...spec.settings, health: undefined }
  return { ...spec, name: nameOf(spec.name, which), command, settings }
}

/** @returns the last lines of its output */
async function waitForSuccess(
  which: OneOff,
  { host, id }: { host: Host; id: string },
  { timeout, mask }: RolloutCommands,
  { log, signal }: RolloutOptions,
): Promise<string[]> {
  const lines: string[] = []
  const onLine = (line: string) => {
    log.output(line)
    // Cut off before, a secret would be half there and not be found.
    lines.push(mask(withoutControls(line)).slice(0, LONGEST_LINE))
    if (lines.length > KEPT_LINES) lines.shift()
  }
  const late = new StepError(
    'COMMAND_FAILED',
    `host ${host.name}: ${which} did not end within ${seconds(timeout)}, and was killed`,
    { hint: 'If it only needs longer, raise rollout.timeout.' },
  )
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(late), timeout)
  try {
    const code = await host.run(id, onLine, AbortSignal.any([signal, limit.signal]))
    if (code === 0) return lines
    throw new StepError(
      'COMMAND_FAILED',
      `host ${host.name}: ${which} ended with exit code ${code}`,
      {
        hint: HINTS[which],
      },
    )
  } catch (error) {
    const known = toStepError(error)
    const message = [known.message, ...lines.map((line) => `  | ${line}`)].join('\n')
    throw known.with({ message, summary: known.message })
  } finally {
    clearTimeout(timer)
  }
}

const HINTS: Readonly<Record<OneOff, string>> = {
  before: 'No host was changed. See what it has done so far, correct it, then deploy again.',
  after: 'What it has done so far stays. Correct it, then deploy again.',
}

const seconds = (milliseconds: number) => `${Math.round(milliseconds / 100) / 10} s`

/** A deployer that was killed may have left its command behind, even running. */
export async function removeCommands(host: Host, options: RolloutOptions): Promise<void> {
  const { spec, log } = options
  for (const which of oneOffs) {
    const left = await host.inspect(nameOf(spec.name, which))
    if (!left) continue
    refuseForeign(host, [left], options)
    refuseYounger(host, [left], options)
    const state = left.running ? 'still ran, and was killed' : 'had ended'
    await removeOrKeep(host, spec.name, left, options)
    log.warn(
      `host ${host.name}: a deployment was cut off while its command ${which} was at work; it ${state}: see what it has done`,
    )
  }
}
