import { createContext, type OpenContext } from '../context.ts'
import { describe, StepError, toStepError } from '../core/errors.ts'
import { createLog } from '../core/log.ts'
import { failUnlessDone, onHangUp, outliveReaders, stopOnSignals } from '../core/process/signals.ts'
import { createSecrets, type Secrets } from '../core/secrets.ts'
import { loadStep } from '../steps/index.ts'
import { isPlanned, kebab, planStep, runStep } from '../steps/inputs.ts'
import { planOutputs } from '../steps/plan.ts'
import type { Step } from '../steps/step.ts'
import { planMarkdown } from '../surface/plan-markdown.ts'
import { planLines } from '../surface/plan-text.ts'
import { planFailure } from '../surface/plan-words.ts'
import { actionWording, inWords } from '../surface/wording.ts'
import { readInputs, readPlace } from './inputs.ts'
import { annotation, writeSummary } from './report.ts'

/** The bundle has no native module; and a runner's disk is gone after the job. */
const NO_SQLITE = 'Actions have no SQLite. Set ledger: mysql://… in crosscloud.yml.'

type Core = typeof import('@actions/core')

/** Runs a step as an action of GitHub, Gitea or Forgejo. Each `dist/<step>.cjs` calls this. */
export async function runAction(name: string): Promise<void> {
  const done = failUnlessDone(process)
  const core = await import('@actions/core')
  // What is masked here is masked by the runner too, in every later step of the job.
  const secrets = createSecrets((value) => core.setSecret(value))
  let context: OpenContext | undefined
  try {
    const step = await loadStep(name)
    if (!step) throw new StepError('INTERNAL', `there is no step ${name}`)
    const inputs = readInputs(step, process.env)
    const readOnly = isPlanned(step, inputs)
    context = await openContext(core, secrets, readOnly)
    await (readOnly ? showPlan : perform)(step, inputs, core, context)
  } catch (error) {
    const failure = explained(error)
    core.error(secrets.mask(inWords(annotation(failure, secrets.mask), actionWording)), {
      title: `crosscloud ${name}`,
    })
    process.exitCode = failure.exitCode
  } finally {
    await context?.close()
    done()
  }
}

async function openContext(core: Core, secrets: Secrets, readOnly: boolean): Promise<OpenContext> {
  const { mask } = secrets
  const stop = stopOnSignals(process, { terminal: false, exit: () => process.exit(1) })
  onHangUp(process)
  outliveReaders([process.stdout, process.stderr])
  return createContext({
    ...(await readPlace(process.env, process.cwd())),
    log: createLog({
      format: 'github',
      write: (text) => void process.stdout.write(text),
      mask,
      word: (text) => inWords(text, actionWording),
      verbose: core.isDebug(),
    }),
    secrets,
    signal: stop.signal,
    readOnly,
  })
}

type Inputs = ReturnType<typeof readInputs>

async function perform(
  step: Step,
  inputs: Inputs,
  core: Core,
  context: OpenContext,
): Promise<void> {
  const outputs = await runStep(step, inputs, context)
  for (const line of step.report(outputs)) context.log.info(line)
  setOutputs(core, step.name, outputs)
  await summarize(context, (mask) => writeSummary(core, step, outputs, mask))
}

/** The job fails where the deployment could not start, and its summary says why. */
async function showPlan(
  step: Step,
  inputs: Inputs,
  core: Core,
  context: OpenContext,
): Promise<void> {
  const plan = await planStep(step, inputs, context)
  for (const line of planLines(plan)) context.log.info(line)
  setOutputs(core, step.name, planOutputs.parse(plan))
  await summarize(context, async (mask) => {
    const text = mask(inWords(planMarkdown(plan), actionWording))
    await core.summary.addRaw(text, true).write()
  })
  const failure = planFailure(plan)
  if (failure) throw failure
}

async function summarize(
  { log, secrets }: OpenContext,
  write: (mask: (text: string) => string) => Promise<void>,
): Promise<void> {
  if (!process.env.GITHUB_STEP_SUMMARY) return
  await write(secrets.mask).catch((error: unknown) =>
    log.warn(`the summary cannot be written: ${describe(error)}`),
  )
}

/** Later steps of the job read the outputs: without them it must not go on. */
function setOutputs(core: Core, name: string, outputs: Record<string, unknown>): void {
  try {
    for (const [output, value] of Object.entries(outputs)) {
      if (value !== undefined) core.setOutput(kebab(output), value)
    }
  } catch (error) {
    const file = process.env.GITHUB_OUTPUT
    const fact = `${name} succeeded, but its outputs cannot be written to ${file}: ${describe(error)}`
    throw new StepError('COMMAND_FAILED', fact, {
      hint: "Make room on the runner's disk, and run the job again: what is done stays done.",
      cause: error,
    })
  }
}

function explained(error: unknown): StepError {
  const failure = toStepError(error)
  if (!isModuleMissing(error)) return failure
  const { code, message, retryable } = failure
  return new StepError(code, message, { hint: NO_SQLITE, retryable, cause: error })
}

function isModuleMissing(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return true
  return isModuleMissing(error.cause)
}
