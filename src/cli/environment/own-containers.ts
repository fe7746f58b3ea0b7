import { StepError } from '../../core/errors.ts'
import { joinErrors } from '../../core/settle-all.ts'
import type { Context } from '../../delivery/context.ts'
import {
  askHosts,
  type Answer as HostAnswer,
  isAnswer,
  isSilent,
} from '../../delivery/deployment/hosts.ts'
import { containerLabels } from '../../delivery/verification/verification.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { ContainerInfo, Host } from '../../targets/docker/host.ts'
import { nameOf, roles } from '../../targets/docker/rollout/repair.ts'
import type { Answer } from '../command.ts'

/** A container of ours and where it is. */
export interface Found {
  host: Host
  container: ContainerInfo
}

export interface Opened {
  app: string
  /** With the hosts that are meant. */
  environment: EnvironmentSettings
}

/** Containers, and the hosts that could not be asked. */
export interface Labelled {
  found: Found[]
  failure: StepError | undefined
}

/** All containers with this application's and environment's labels. */
export async function labelled({ app, environment }: Opened, context: Context): Promise<Labelled> {
  const labels = {
    [containerLabels.application]: app,
    [containerLabels.environment]: environment.name,
  }
  const answers = await askHosts(environment, context, (host) => host.list(labels))
  const found = answers
    .filter(isAnswer)
    .flatMap(({ host, value }) => value.map((container): Found => ({ host, container })))
  const { failure } = silenceOf(answers)
  return { found: found.sort((a, b) => (told(a).name < told(b).name ? -1 : 1)), failure }
}

/**
 * Those of them that have this environment's container name. The label alone is not enough: the
 * merge requests of one environment differ only in the name.
 */
export async function own(opened: Opened, context: Context): Promise<Labelled> {
  const names = new Set(roles.map((role) => nameOf(opened.environment.containerName, role)))
  const { found, failure } = await labelled(opened, context)
  return { found: found.filter(({ container }) => names.has(container.name)), failure }
}

export const told = ({ host, container: { name, id, running, exitCode } }: Found) => ({
  ...{ host: host.name, name, id, running },
  ...(exitCode !== undefined && { exitCode }),
})

/** What the other hosts answered is shown all the same. */
export function silenceOf(answers: readonly HostAnswer<unknown>[]): Pick<Answer, 'failure'> {
  const failure = joinErrors(answers.filter(isSilent).map(({ fault }) => fault))
  return failure ? { failure } : {}
}

export function nothing({ app, environment }: Opened): StepError {
  const what = `no container ${environment.containerName} of ${app} in ${environment.name}`
  return new StepError('NOT_FOUND', what, {
    hint: `crosscloud hosts containers --env ${environment.name} lists what is there.`,
  })
}
