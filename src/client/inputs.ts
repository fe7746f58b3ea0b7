import { StepError } from '../core/errors.ts'
import type { RemoteStep } from '../delivery/context.ts'
import { formatRelease, type ReleaseName } from '../delivery/release-name.ts'
import { fieldsOf } from '../steps/fields.ts'
import { kebab, remoteInputs } from '../steps/inputs.ts'

/**
 * The inputs as they are sent: those that a server takes. Another one that says anything is refused
 * here, before the server refuses it.
 */
export function inputsToSend(
  step: RemoteStep,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const known = new Set(remoteInputs(step))
  const fields = new Map(fieldsOf(step.inputs).map((field) => [field.name, field]))
  const sent: Record<string, unknown> = {}
  const refused: string[] = []
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (known.has(name)) sent[name] = asText(value)
    else if (!isSame(value, fields.get(name)?.default)) refused.push(`\`--${kebab(name)}\``)
  }
  if (refused.length === 0) return sent
  throw new StepError(
    'INPUT_INVALID',
    `${step.name} runs on the server, which does not take ${refused.join(', ')}`,
    { hint: 'Leave it out, or run the step where the hosts are: CROSSCLOUD_SERVER=none.' },
  )
}

/** A composite step hands a release over as a value. */
function asText(value: unknown): unknown {
  const isRelease =
    typeof value === 'object' && value !== null && 'app' in value && 'version' in value
  return isRelease ? formatRelease(value as ReleaseName) : value
}

/** Surfaces hand over what says nothing as well: false, an empty list. */
function isSame(value: unknown, byDefault: unknown): boolean {
  const nothing = value === false || value === '' || (Array.isArray(value) && value.length === 0)
  return JSON.stringify(value) === JSON.stringify(byDefault) || (nothing && !byDefault)
}

/** The application of a request: crosscloud.yml's, else that of the release. */
export function applicationOf(
  app: string | undefined,
  inputs: Readonly<Record<string, unknown>>,
): string {
  const { release, to } = inputs
  const named = [release, to].find((name) => typeof name === 'string' && name.includes('@'))
  const found = app ?? (typeof named === 'string' ? named.split('@', 1)[0] : undefined)
  if (found) return found
  throw new StepError('INPUT_INVALID', 'nothing names the application', {
    hint: 'Write `app: NAME` into crosscloud.yml, or give the release: `--release NAME@VERSION`.',
  })
}
