import { StepError, toStepError } from '../../../core/errors.ts'
import { withoutControls } from '../../../core/plain-text.ts'
import type { OneOff, RolloutCommands } from '../../target.ts'
import type { ContainerSpec, Host } from '../host.ts'
import { isOnVolumeOf, volumePaths } from '../placed-files.ts'
import { inSlot } from '../slots.ts'
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
    const { id } = await host.create(specOf(which, argv, options.spec))
    try {
      await throwIfStopped(options)
      await commands.onStart(which, host.name)
      const begun = Date.now()
      const lines = await waitForSuccess(which, { host, id }, commands, options)
      const duration = Date.now() - begun
      log.info(`${which} has succeeded after ${seconds(duration)}`)
      await commands.onEnd(which, { duration, lines })
    } finally {
      await host.remove(id).catch((error: unknown) => {
        const { message } = toStepError(error)
        log.warn(`${message}; the next deployment removes ${nameOf(options.spec.name, which)}`)
      })
    }
  })
}

/**
 * Files are placed in the container itself: on a volume the container that serves would see them.
 * Where there are slots it has the values of the first.
 */
function specOf(which: OneOff, command: readonly string[], wanted: ContainerSpec): ContainerSpec {
  const { slots } = wanted.settings
  const spec = slots ? inSlot(wanted, slots, 1) : wanted
  const { settings, files } = spec
  const volumes = settings.volumes.filter((volume) => {
    const [path = ''] = volumePaths({ volumes: [volume] })
    return !files.some((file) => isOnVolumeOf([path], file.path))
  })
  return {
    ...spec,
    name: nameOf(spec.name, which),
    command,
    settings: {
      ...settings,
      volumes,
      ports: [],
      restart: 'no',
      health: undefined,
      onVolume: false,
    },
  }
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
