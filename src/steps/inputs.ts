import { z } from 'zod'
import { StepError, toStepError } from '../core/errors.ts'
import { durationText, issueLines } from '../core/settings/schema.ts'
import type { Context, StepServer } from '../delivery/context.ts'
import type { Plan } from '../delivery/plan/schema.ts'
import { formatRelease, parseRelease, RELEASE_PATTERN } from '../delivery/release-name.ts'
import {
  formatReference,
  formatRepository,
  parseReference,
  parseRepository,
} from '../registry/reference.ts'
import type { EnvironmentSettings, Settings } from '../settings.ts'
import type { Step } from './step.ts'

/** `warMd5` → `war-md5`: how an input or output is called outside the program. */
export function kebab(name: string): string {
  return name.replace(/[A-Z0-9]+(?=[A-Z]|$)|[A-Z]/g, (part) =>
    /^\d/.test(part) ? part : `-${part.toLowerCase()}`,
  )
}

/** `warMd5` → `CROSSCLOUD_WAR_MD5`. */
export function variableName(name: string): string {
  return `CROSSCLOUD_${kebab(name).replaceAll('-', '_').toUpperCase()}`
}

/**
 * A text, parsed once, here; or the value itself, from a composite step. Callers without types may
 * pass any object: a value must be equal to what its own text is parsed to.
 */
function textOrValue<T extends object>(parse: (text: string) => T, format: (value: T) => string) {
  return z
    .custom<string | T>(isGiven, {
      error: ({ input }) => (input === undefined ? 'is required' : 'is not a text'),
    })
    .transform((given, context): T => {
      try {
        const value = parse(typeof given === 'string' ? given : format(given))
        if (typeof given === 'string' || isPartOf(value, given)) return value
        context.addIssue({ code: 'custom', message: `${format(value)} is written otherwise` })
      } catch (error) {
        context.addIssue({ code: 'custom', message: toStepError(error).message })
      }
      return z.NEVER
    })
}

/** Marks an input that may come over HTTP: it names no path, no program and no host of the server. */
export function remote<Schema extends z.ZodType>(schema: Schema): Schema {
  return schema.meta({ remote: true }) as Schema
}

/** The inputs of a step that may come over HTTP; none, unless they are marked. */
export function remoteInputs({ inputs }: Pick<Step, 'inputs'>): string[] {
  return Object.entries(inputs.shape)
    .filter(([, schema]) => (schema as z.ZodType).meta()?.remote === true)
    .map(([name]) => name)
}

const isPartOf = (part: object, whole: object) =>
  Object.entries(part).every(([key, value]) => (whole as Record<string, unknown>)[key] === value)

const isGiven = (value: unknown) =>
  typeof value === 'string' || (typeof value === 'object' && value !== null)

/** Whether its job needs to know the server: the step runs there, or asks it. */
export const usesServer = (step: Pick<Step, 'inputs' | 'ci'>): boolean =>
  remoteInputs(step).length > 0 || step.ci?.asksServer === true

export const imageReference = textOrValue(parseReference, formatReference)
export const imageRepository = textOrValue(parseRepository, formatRepository)
export const releaseName = textOrValue(parseRelease, formatRelease).meta({
  type: 'string',
  pattern: RELEASE_PATTERN,
})

export const lockWaitInput = remote(
  durationText.optional().describe('How long to wait while somebody else deploys there: 10m'),
)

export const reasonInput = remote(
  z.string().default('').describe('Why; it is written into the ledger'),
)

export const forceInput = remote(
  z
    .boolean()
    .default(false)
    .describe('Deploy a release that is known to be bad there; needs a reason'),
)

export const olderInput = remote(
  z
    .boolean()
    .default(false)
    .describe('Deploy a release that is older than the one that runs there'),
)

export const breakGlassInput = remote(
  z
    .boolean()
    .default(false)
    .describe(
      'Go past the gate, by somebody whom the settings name, with a reason; a second person signs it off within a day',
    ),
)

export const acrossMigrationInput = remote(
  z
    .boolean()
    .default(false)
    .describe('Go back past a release that has run a command there, a migration; needs a reason'),
)

export const withoutInput = remote(
  z
    .array(z.string())
    .default([])
    .describe('Hosts to go past because they do not answer; needs a reason'),
)

export const planInput = remote(
  z
    .boolean()
    .default(false)
    .describe(
      'Only say what would be done, and all that stands in its way; it reads, and changes nothing',
    ),
)

const NO_RELEASE =
  '`crosscloud push-image` gives a release when it records one; with `--no-record` there is none.'

/** Checks a step's inputs; all problems are reported at once, each with the input's name. */
export function parseInputs<Inputs extends z.ZodObject>(
  step: Pick<Step<Inputs>, 'name' | 'inputs'>,
  values: Record<string, unknown>,
): z.output<Inputs> {
  const result = step.inputs.safeParse(values, { reportInput: true })
  if (result.success) return result.data
  const lines = issueLines(result.error.issues).map(({ path, text }) => {
    const [name = '', ...rest] = path
    return `\`--${[kebab(name), ...rest].join('.')}\` ${text}`
  })
  const isReleaseMissing =
    result.error.issues.some(({ path }) => path[0] === 'release') && !values.release
  const explained = `\`crosscloud ${step.name} --help\` explains every input.`
  throw new StepError('INPUT_INVALID', lines.join('\n'), {
    hint: isReleaseMissing ? `${NO_RELEASE} ${explained}` : explained,
  })
}

/** The given inputs, completed from crosscloud.yml; undefined counts as not given. */
export function completeInputs<Inputs extends z.ZodObject>(
  step: Pick<Step<Inputs>, 'fromSettings'>,
  given: Record<string, unknown>,
  settings: Settings | undefined,
  environment: EnvironmentSettings | undefined,
): Record<string, unknown> {
  const values: Record<string, unknown> = settings
    ? { ...step.fromSettings?.(settings, environment) }
    : {}
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) values[name] = value
  }
  return values
}

/**
 * Runs a step with the given inputs, completed from crosscloud.yml where there is one; on the server
 * that the context names, if it can run there.
 */
export async function runStep<Inputs extends z.ZodObject, Outputs extends z.ZodObject>(
  step: Step<Inputs, Outputs>,
  given: Partial<z.input<Inputs>>,
  context: Context,
): Promise<z.output<Outputs>> {
  const server = await serverOf(step, context)
  if (server) {
    refusePlan(step, given)
    return (await server.run(step, given)) as z.output<Outputs>
  }
  const inputs = await readInputs(step, given, context)
  refusePlan(step, inputs)
  return step.run(inputs, context)
}

function refusePlan(step: Pick<Step, 'name' | 'plan'>, inputs: Record<string, unknown>): void {
  if (!isPlanned(step, inputs)) return
  throw new StepError('INPUT_INVALID', `${step.name} runs, and a plan was asked for`, {
    hint: 'As a library: `planStep` makes the plan.',
  })
}

async function serverOf(
  step: Pick<Step, 'inputs'>,
  context: Context,
): Promise<StepServer | undefined> {
  return remoteInputs(step).length > 0 ? context.server?.() : undefined
}

/** What a step would do with the same inputs; with `readOnly` in its context, nothing can be written. */
export async function planStep<Inputs extends z.ZodObject>(
  step: Step<Inputs>,
  given: Partial<z.input<Inputs>>,
  context: Context,
): Promise<Plan> {
  if (step.plan !== undefined) {
    const server = await serverOf(step, context)
    if (server) return server.plan(step, given)
    return step.plan(await readInputs(step, given, context), context)
  }
  throw new StepError('INPUT_INVALID', `${step.name} has no plan`, {
    hint: '`deploy`, `promote` and `rollback` have one.',
  })
}

/** Whether the inputs ask what a step would do, and not to do it. */
export function isPlanned(step: Pick<Step, 'plan'>, inputs: Record<string, unknown>): boolean {
  return step.plan !== undefined && inputs.plan === true
}

async function readInputs<Inputs extends z.ZodObject>(
  step: Pick<Step<Inputs>, 'name' | 'inputs' | 'fromSettings'>,
  given: Partial<z.input<Inputs>>,
  context: Context,
): Promise<z.output<Inputs>> {
  const settings = (await context.hasSettings()) ? await context.settings() : undefined
  const { env } = given as { env?: string }
  const environment = settings && env !== undefined ? await context.environment(env) : undefined
  return parseInputs(step, completeInputs(step, given, settings, environment))
}

/** Runs a step as a section of a composite step: its title, its log lines, its report. */
export async function callStep<Inputs extends z.ZodObject, Outputs extends z.ZodObject>(
  step: Step<Inputs, Outputs>,
  given: Partial<z.input<Inputs>>,
  context: Context,
): Promise<z.output<Outputs>> {
  return context.log.section(`${step.name}: ${step.summary}`, async () => {
    const outputs = await runStep(step, given, context)
    for (const line of step.report(outputs)) context.log.info(line)
    return outputs
  })
}
