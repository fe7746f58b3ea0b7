import { StepError } from '../../core/errors.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { instanceLabels } from '../../targets/labels.ts'
import { failureOf, isSuccess } from '../../targets/responses.ts'
import type { Instance, Target } from '../../targets/target.ts'

export interface Opened {
  app: string
  /** With the hosts that are meant. */
  environment: EnvironmentSettings
  target: Target
}

/** Instances, and the hosts that did not respond. */
export interface Labelled {
  found: Instance[]
  failure: StepError | undefined
}

/** All instances with this application's and environment's labels. */
export async function labelled({ app, environment, target }: Opened): Promise<Labelled> {
  const responses = await target.instances({
    labels: {
      [instanceLabels.application]: app,
      [instanceLabels.environment]: environment.name,
    },
  })
  const found = responses.filter(isSuccess).flatMap(({ value }) => value)
  return {
    found: found.sort((a, b) => (a.name < b.name ? -1 : 1)),
    failure: failureOf(responses),
  }
}

/**
 * The environment's own instances. The label alone is not enough: the merge requests of one
 * environment differ only in the name.
 */
export async function own(opened: Opened): Promise<Labelled> {
  const { found, failure } = await labelled(opened)
  return { found: found.filter(({ role }) => role !== undefined), failure }
}

export const describeInstance = ({ host, name, id, running, exitCode }: Instance) => ({
  host,
  name,
  id,
  running,
  ...(exitCode !== undefined && { exitCode }),
})

export function nothing({ app, environment }: Opened): StepError {
  const what = `no container ${environment.containerName} of ${app} in ${environment.name}`
  return new StepError('NOT_FOUND', what, {
    hint: `crosscloud hosts containers --env ${environment.name} lists what is there.`,
  })
}
