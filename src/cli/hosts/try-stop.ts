import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import { guardChange } from '../../delivery/gate/guard.ts'
import { formatRelease, parseRelease } from '../../delivery/release-name.ts'
import { chooseTrial, tryStop } from '../../delivery/verification/stop-trial.ts'
import type { StopTrial } from '../../targets/target.ts'
import { type HostOptions, lockRequestOf, type Opened } from '../instances/open.ts'
import { agree, type Terminal } from '../terminal.ts'

export interface TrialOptions extends HostOptions {
  tryStop?: boolean
  release?: string
  slow?: string
  reason?: string
  lockWait?: string
  yes?: boolean
}

const NEEDED = ['release', 'slow'] as const
/** As it stands in a request: no blanks, no controls, nothing that a client would encode. */
const PATH = /^\/[\x21-\x7e]*$/

export function checkTrialOptions(options: TrialOptions): void {
  const lone = options.tryStop ? undefined : NEEDED.find((name) => options[name] !== undefined)
  if (lone !== undefined) {
    throw new StepError('INPUT_INVALID', `--${lone} is of use with \`--try-stop\` alone`)
  }
  const { slow } = options
  if (slow === undefined || PATH.test(slow)) return
  throw new StepError('INPUT_INVALID', `--slow "${slow}" is no path of a page`, {
    hint: 'Write it as in a browser, without the host: /orders?ms=5000',
  })
}

/** Starts a container, so it is asked for, held to the gate, and recorded. */
export async function tryToStop(
  options: TrialOptions,
  opened: Opened,
  context: Context,
  person: Terminal,
): Promise<{ trial: StopTrial; release: string }> {
  const { app, environment } = opened
  const action = 'hosts check --try-stop'
  const reason = options.reason ?? context.variable('CROSSCLOUD_REASON')
  const named = options.release === undefined ? undefined : parseRelease(options.release)
  const chosen = await chooseTrial({ app, environment, release: named }, context)
  const release = formatRelease(chosen.release)
  const who = await guardChange({ environment, action, reason, waitsForFreeze: true }, context)
  const question = `Start ${release} in a container of its own on ${chosen.host.name}, and stop it?`
  await agree(person, question, options.yes ?? false)
  const { slow, lockWait } = options
  const lock = lockRequestOf(opened, { action, reason, lockWait }, context)
  const trial = await tryStop({ environment, slow, reason, lock }, chosen, who, context)
  return { trial, release }
}

export function trialText({ trial, release }: { trial: StopTrial; release: string }): string {
  const { host, name, boot, firstResponse, request, takesNew, stop, warnings } = trial
  const rows: [string, string | undefined][] = [
    ['Start', `healthy after ${seconds(boot)}`],
    [
      'Port',
      firstResponse === undefined
        ? undefined
        : `the first request waited ${seconds(firstResponse)} once it was open`,
    ],
    ['Request', requestText(request)],
    ['Stop', stopText(stop)],
    [
      'New',
      takesNew === undefined ? undefined : `connections were ${takesNew ? 'taken' : 'refused'}`,
    ],
  ]
  return [
    `${host}: ${release} was stopped in a container of its own, ${name}, which is removed`,
    ...rows.flatMap(([what, text]) => (text === undefined ? [] : [`  ${what.padEnd(8)} ${text}`])),
    ...warnings.flatMap(({ text, hint }) => [`${host}: ${text}`, `  → ${hint}`]),
  ].join('\n')
}

function requestText(request: StopTrial['request']): string {
  if (request === undefined) {
    return 'none was at work: `--slow /PATH` names a page that takes some 5 s'
  }
  const { path, status, error, duration, isTooQuick } = request
  const end = error === undefined ? `HTTP ${status}` : error
  const when = isTooQuick ? 'before it was asked to stop' : 'while it stopped'
  return `GET ${path}: ${end} after ${seconds(duration)}, ${when}`
}

/** 143 and 0: by itself. 137: killed. */
function stopText({ exitCode, duration, timeout }: StopTrial['stop']): string {
  const time = `after ${seconds(duration)} of ${timeout} s`
  const code = `exit code ${exitCode ?? 'unknown'}`
  if (exitCode === 137) return `${code} ${time}: it was killed`
  return exitCode === 143 || exitCode === 0
    ? `${code} ${time}: it stopped by itself`
    : `${code} ${time}`
}

const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`
