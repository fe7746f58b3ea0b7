import { z } from 'zod'
import { identifier } from '../../api/runs.ts'
import { objectName } from '../../core/settings/schema.ts'
import { fieldsOf, type InputField } from '../../steps/fields.ts'
import { remoteInputs } from '../../steps/inputs.ts'
import type { Step } from '../../steps/step.ts'
import { findRemoteStep, remoteStepNames } from './steps.ts'

const LONGEST_TEXT = 2000
const MOST_ITEMS = 100

const NO_TEXT = `is not a text of at most ${LONGEST_TEXT} characters without control characters`
const NO_LIST = `is not a list of at most ${MOST_ITEMS} texts`

/** They become arguments of a process: without NUL, and without anything that draws on a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
const PRINTABLE = /^[^\u0000-\u0008\u000b-\u001f\u007f]*$/

const inputText = (message: string) =>
  z
    .string(message)
    .max(LONGEST_TEXT, { error: message, abort: true })
    .regex(PRINTABLE, { error: message, abort: true })
    .refine((value) => !/\p{Surrogate}/u.test(value), message)

/** An input as it is sent; what it means, the step's own schema says. */
function wireType({ type, choices }: InputField): z.ZodType {
  if (type === 'array') return z.array(inputText(NO_LIST), NO_LIST).max(MOST_ITEMS, NO_LIST)
  if (type === 'boolean') return z.boolean('is not true or false')
  if (type === 'number') return z.number('is not a number')
  return choices ? z.enum(choices) : inputText(NO_TEXT)
}

function wireField(field: InputField): z.ZodType {
  const { description, pattern, required, default: byDefault } = field
  // The step checks what it looks like, with a message of its own.
  const schema = wireType(field).meta({ description, ...(pattern && { pattern }) })
  if (required) return schema
  // The step fills it in: what was not given stays absent.
  return schema.optional().meta(byDefault === undefined ? {} : { default: byDefault })
}

/** A step and its inputs: those that its definition marks `remote`. A plan is a request of its own. */
function requestOf(step: Step) {
  const remote = remoteInputs(step).filter((name) => name !== 'plan')
  const fields = fieldsOf(step.inputs).filter(({ name }) => remote.includes(name))
  const inputs = Object.fromEntries(fields.map((field) => [field.name, wireField(field)]))
  return z
    .strictObject({
      app: objectName.describe('Application, as registered with the server'),
      step: z.literal(step.name),
      inputs: z.strictObject(inputs),
    })
    .describe(step.summary)
}

type StepRequest = ReturnType<typeof requestOf>

/** By the name of the step. */
export const stepRequests: Readonly<Record<string, StepRequest>> = Object.fromEntries(
  remoteStepNames.map((name) => [name, requestOf(findRemoteStep(name).step)]),
)

const stepOf = (
  names: readonly string[],
  unknown: string,
  extend: (name: string, request: StepRequest) => StepRequest = (_name, request) => request,
) =>
  z.discriminatedUnion(
    'step',
    names.flatMap((name) => {
      const request = stepRequests[name]
      return request ? [extend(name, request)] : []
    }) as unknown as [StepRequest],
    `${unknown}: ${names.join(', ')}`,
  )

const hasPlan = (name: string) => findRemoteStep(name).step.plan !== undefined

/** `POST plans`. */
export const planRequest = stepOf(
  remoteStepNames.filter(hasPlan),
  'is not one of the steps that have a plan',
)

const idToken = z
  .string()
  .max(128 * 1024)
  .optional()
  .describe("The job's ID token for the audience of identity in crosscloud.yml: its proof")

const withProof = (name: string, request: StepRequest): StepRequest =>
  findRemoteStep(name).step.ci?.proven
    ? (request.extend({ idToken }) as unknown as StepRequest)
    : request

/** `POST runs`: a plan that was seen, or a step with its inputs. */
export const runRequest = z.union([
  stepOf(remoteStepNames, 'is not one of the steps over HTTP', withProof),
  z.strictObject({ plan: identifier }).describe('A plan that POST plans has given'),
])

export type StepBody = z.output<typeof planRequest>
export type RunBody = z.output<typeof runRequest>
