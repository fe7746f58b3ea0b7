import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import type { LockRequest } from '../../delivery/deployment/lock.ts'
import { type EnvironmentSettings, withHosts } from '../../settings.ts'
import { instanceLabels } from '../../targets/labels.ts'
import { failureOf, isSuccess } from '../../targets/responses.ts'
import type { Instance, Target } from '../../targets/target.ts'
import { addExample, readTimeout, requireText } from '../command.ts'

export interface HostOptions {
  env?: string
  host?: string[]
}

/** A command of a group that is about an environment's hosts, or about some of them. */
export function addHostCommand(
  group: Command,
  name: string,
  description: string,
  example: string,
): Command {
  const command = group
    .command(name)
    .description(description)
    .option('--env <name>', 'environment; default: CROSSCLOUD_ENV')
    .option(
      '--host <name>',
      'only this host; may be repeated',
      (host: string, all: string[] | undefined) => [...(all ?? []), host],
    )
  addExample(command, `${group.name()} ${example}`)
  return command
}

export interface Opened {
  app: string
  /** With the hosts that are meant. */
  environment: EnvironmentSettings
  target: Target
}

export async function open({ env, host: only }: HostOptions, context: Context): Promise<Opened> {
  const name = requireText(env ?? context.variable('CROSSCLOUD_ENV'), '--env')
  const environment = await context.environment(name)
  const { app } = await context.settings()
  const known = environment.hosts.map((one) => one.name)
  const unknown = only?.find((host) => !known.includes(host))
  if (unknown !== undefined) {
    throw new StepError('INPUT_INVALID', `environment ${name} has no host "${unknown}"`, {
      hint: `Known hosts: ${known.join(', ') || 'none'}.`,
    })
  }
  const chosen = environment.hosts.filter((one) => only === undefined || only.includes(one.name))
  const meant = withHosts(environment, chosen)
  return { app, environment: meant, target: await context.target(meant) }
}

/** What a change of hosts or instances holds the environment's lock with. */
export function lockRequestOf(
  { app, environment }: Opened,
  change: { action: string; reason: string | undefined; lockWait: string | undefined },
  context: Context,
): LockRequest {
  return {
    app,
    environment: environment.name,
    reason: change.reason || change.action,
    timeout: readTimeout(change.lockWait ?? context.variable('CROSSCLOUD_LOCK_WAIT')),
  }
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

/** Those that serve, or would; at least one. A host that does not respond hides none of the others. */
export async function current(opened: Opened): Promise<Labelled> {
  const { found: all, failure } = await own(opened)
  const found = all.filter(({ role }) => role === 'current')
  if (found.length === 0) throw failure ?? nothing(opened)
  return { found, failure }
}

/** `webapi-test on app-01` */
export const placeOf = ({ host, name }: Pick<Instance, 'host' | 'name'>) => `${name} on ${host}`

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
    hint: `\`crosscloud instances list --env ${environment.name}\` lists what is there.`,
  })
}
