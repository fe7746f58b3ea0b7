import { createContext } from '../context.ts'
import { StepError, toStepError } from '../core/errors.ts'
import { createLog } from '../core/log.ts'
import { createSecrets } from '../core/secrets.ts'
import { outliveReaders, stopOnSignals } from '../core/signals.ts'
import { fieldsOf, readText } from '../steps/fields.ts'
import { loadStep } from '../steps/index.ts'
import { kebab, runStep } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'

/** The bundle has no native module; and a runner's disk is gone after the job. */
const NO_SQLITE = 'Actions have no SQLite. Set ledger: mysql://… in crosscloud.yml.'

/** Runs a step as an action of GitHub, Gitea or Forgejo. Each `dist/<step>.cjs` calls this. */
export async function runAction(name: string): Promise<void> {
  const core = await import('@actions/core')
  // What is masked here is masked by the runner too, in every later step of the job.
  const secrets = createSecrets((value) => core.setSecret(value))
  const stop = stopOnSignals(process, { terminal: false, exit: () => process.exit(1) })
  outliveReaders([process.stdout, process.stderr])
  const context = createContext({
    cwd: process.env.GITHUB_WORKSPACE ?? process.cwd(),
    variables: process.env,
    log: createLog({
      format: 'github',
      write: (text) => void process.stdout.write(text),
      mask: secrets.mask,
      verbose: core.isDebug(),
    }),
    secrets,
    signal: stop.signal,
  })
  try {
    const step = await loadStep(name)
    if (!step) throw new StepError('INTERNAL', `there is no step ${name}`)
    const outputs = await runStep(step, readInputs(step, process.env), context)
    for (const line of step.report(outputs)) context.log.info(line)
    for (const [output, value] of Object.entries(outputs)) {
      if (value !== undefined) core.setOutput(kebab(output), value)
    }
    if (process.env.GITHUB_STEP_SUMMARY) await writeSummary(core, step, outputs, secrets.mask)
  } catch (error) {
    const { message, exitCode, hint: told } = toStepError(error)
    const hint = isModuleMissing(error) ? NO_SQLITE : told
    core.error(secrets.mask(hint ? `${message}\n${hint}` : message), {
      title: `crosscloud ${name}`,
    })
    process.exitCode = exitCode
  } finally {
    await context.close()
  }
}

function isModuleMissing(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return true
  return isModuleMissing(error.cause)
}

/** A runner passes `with: war-layout` as INPUT_WAR-LAYOUT: upper-case, hyphens stay; empty is not given. */
export function readInputs(
  step: Step,
  variables: Readonly<Record<string, string | undefined>>,
): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  for (const field of fieldsOf(step.inputs)) {
    const name = kebab(field.name)
    const text = variables[`INPUT_${name.toUpperCase()}`]?.trim()
    if (text) given[field.name] = readText(field, text, name)
  }
  return given
}

async function writeSummary(
  core: typeof import('@actions/core'),
  step: Step,
  outputs: Record<string, unknown>,
  mask: (text: string) => string,
): Promise<void> {
  const text = (value: unknown) =>
    mask(typeof value === 'string' ? value : JSON.stringify(value))
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
  const rows = Object.entries(outputs)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [kebab(name), text(value)])
  await core.summary.addHeading(`${step.name}: ${step.summary}`, 3).addTable(rows).write()
}
