import { StepError } from '../../core/errors.ts'
import type { Question } from '../../policy/decide.ts'
import type { Settings } from '../../settings.ts'
import { approve } from '../../steps/approve.ts'
import { deploy } from '../../steps/deploy.ts'
import { kebab, parseInputs, remoteInputs } from '../../steps/inputs.ts'
import { promote } from '../../steps/promote.ts'
import { recordRelease } from '../../steps/record-release.ts'
import { rollback } from '../../steps/rollback.ts'
import type { Step } from '../../steps/step.ts'
import { verifyMd5 } from '../../steps/verify-md5.ts'
import type { RunRequest } from './run.ts'

/** What a step needs of the policy. */
export type StepVerb = 'approve' | 'build' | 'deploy' | 'promote' | 'rollback' | 'verify'

interface RemoteStep {
  step: Step
  verb: StepVerb
}

const asStep = (step: unknown) => step as Step

/**
 * The steps over HTTP. Builds are not among them: they never run beside the keys. What a job has built
 * and pushed is recorded here.
 */
const remoteSteps: Readonly<Record<string, RemoteStep>> = {
  'record-release': { step: asStep(recordRelease), verb: 'build' },
  deploy: { step: asStep(deploy), verb: 'deploy' },
  promote: { step: asStep(promote), verb: 'promote' },
  approve: { step: asStep(approve), verb: 'approve' },
  rollback: { step: asStep(rollback), verb: 'rollback' },
  'verify-md5': { step: asStep(verifyMd5), verb: 'verify' },
}

export const remoteStepNames = Object.keys(remoteSteps)

export function findRemoteStep(name: string): RemoteStep {
  const found = Object.hasOwn(remoteSteps, name) ? remoteSteps[name] : undefined
  if (found) return found
  throw new StepError('INPUT_INVALID', `there is no step ${JSON.stringify(name)} over HTTP`, {
    hint: `Steps here: ${remoteStepNames.join(', ')}.`,
  })
}

/** Whether it holds the environment's lock, and leaves a deployment in the ledger. */
export const changesEnvironment = (name: string): boolean =>
  remoteInputs(findRemoteStep(name).step).includes('lockWait')

/** Whether it is done where the hosts are; the others read and write the ledger alone. */
export const needsHosts = (name: string): boolean =>
  changesEnvironment(name) || name === 'verify-md5'

/** Inputs that go past a rule: they need the verb `force` as well. */
const FORCING = ['force', 'older', 'breakGlass', 'acrossMigration']

export const isForced = (inputs: Readonly<Record<string, unknown>>): boolean =>
  FORCING.some((name) => inputs[name] === true)

/** What must be allowed for it with these settings: its verb, and `force` where it goes past a rule. */
export function questionsOf(
  { app, step, environment, inputs }: RunRequest,
  { environments }: Pick<Settings, 'environments'>,
): Question[] {
  const { verb } = findRemoteStep(step)
  const named = Object.hasOwn(environments, environment) ? environments[environment] : undefined
  const source = verb === 'promote' ? { source: named?.from ?? environment } : {}
  const own = { verb, app, environment, ...source }
  return isForced(inputs) ? [own, { ...own, verb: 'force' }] : [own]
}

/** What was asked for, for the audit; the environment is its own field there. */
export function auditedInputs({ step, inputs }: Pick<RunRequest, 'step' | 'inputs'>) {
  const given = Object.entries(inputs).filter(([name]) => name !== 'env')
  const texts = given.map(([name, value]) => [name, [value].flat().join(' ')] as const)
  return { step, ...Object.fromEntries(texts) }
}

/** What a step makes of inputs that its request schema (requests.ts) has let through. */
export function readRequest(given: {
  app: string
  step: string
  inputs: Readonly<Record<string, unknown>>
}): RunRequest {
  const { app, inputs } = given
  const { step } = findRemoteStep(given.step)
  const parsed = parseInputs(step, { ...inputs })
  const environment = String(parsed[step.environmentInput ?? 'env'])
  const release = (step.name === 'rollback' ? parsed.to : parsed.release) as
    | { app: string }
    | undefined
  if (release && release.app !== app) {
    throw new StepError('INPUT_INVALID', `the release is of ${release.app}, not of ${app}`)
  }
  return { app, step: step.name, environment, inputs: { ...inputs } }
}

/** The arguments of the command line; a value cannot be taken for a flag. */
export function argumentsOf({ step, inputs }: Pick<RunRequest, 'step' | 'inputs'>): string[] {
  const flags = Object.entries(inputs).flatMap(([name, value]): string[] => {
    const flag = kebab(name)
    if (typeof value === 'boolean') return [value ? `--${flag}` : `--no-${flag}`]
    return [value].flat().map((item) => `--${flag}=${String(item)}`)
  })
  return [step, ...flags]
}
