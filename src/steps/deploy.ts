import { z } from 'zod'
import { duration } from '../core/settings/schema.ts'
import type { Context } from '../delivery/context.ts'
import { catchUp } from '../delivery/deployment/catch-up.ts'
import { deployUnderLock, underLock } from '../delivery/deployment/deployment.ts'
import { chooseHosts } from '../delivery/deployment/host-choice.ts'
import {
  addressLines,
  deployedOutputs,
  nextLines,
  summarize,
} from '../delivery/deployment/outcome.ts'
import type { DeploymentRequest } from '../delivery/deployment/request.ts'
import { identifyActor } from '../delivery/gate/break-glass.ts'
import { findOwnRelease } from '../delivery/release.ts'
import type { ReleaseName } from '../delivery/release-name.ts'
import type { EnvironmentSettings } from '../settings.ts'
import {
  acrossMigrationInput,
  breakGlassInput,
  forceInput,
  olderInput,
  planInput,
  reasonInput,
  releaseName,
  withoutInput,
} from './inputs.ts'
import { defineStep } from './step.ts'

export const deploy = defineStep({
  name: 'deploy',
  summary: 'Put a release on an environment: render its config, replace the containers, verify.',
  example: 'deploy --release webapi@1.4.2 --env test',
  ci: { environment: 'change', identity: true },
  inputs: z
    .object({
      release: releaseName
        .optional()
        .describe('Release, as application@version; with missing it is the one that runs'),
      env: z.string().describe('Environment to deploy to'),
      reason: reasonInput,
      force: forceInput,
      older: olderInput,
      breakGlass: breakGlassInput,
      acrossMigration: acrossMigrationInput,
      without: withoutInput,
      missing: z
        .boolean()
        .default(false)
        .describe(
          'Bring what runs there, or the release, to the hosts without it, and to those alone',
        ),
      adopt: z
        .boolean()
        .default(false)
        .describe('Take over a container that has the name and is not of this application'),
      lockWait: duration.optional().describe('How long to wait for another deployment: 10m'),
      plan: planInput,
    })
    .check(({ value: { release, missing }, issues }) => {
      if (release !== undefined || missing) return
      issues.push({ code: 'custom', path: ['release'], input: release, message: 'is required' })
    }),
  outputs: deployedOutputs,
  report: ({ release, environment, digest, warMd5, configRevision, url, containers, next }) => [
    `${release} runs in ${environment}`,
    `Image    ${digest}`,
    `WAR MD5  ${warMd5}, compared in ${containers.map(({ host }) => host).join(', ')}`,
    `Config   ${configRevision}`,
    ...addressLines({ url, containers }),
    ...nextLines(next),
  ],
  async run(inputs, context) {
    const { env, reason, breakGlass, lockWait = 0 } = inputs
    const environment = await context.environment(env)
    const settings = await context.settings()
    if (breakGlass) await identifyActor({ environment, reason, breakGlass }, context)
    const { app, resolve } = await readRequest(inputs, environment, context)
    const place = { app, environment: env, reason: reason || 'deploy', timeout: lockWait }
    return underLock(place, context, async (lock) => {
      const request = await resolve()
      return summarize(request, await deployUnderLock(request, lock, context), settings)
    })
  },
  async plan(inputs, context) {
    const environment = await context.environment(inputs.env)
    const { resolve } = await readRequest(inputs, environment, context)
    const { planDeployment } = await import('../delivery/plan/plan.ts')
    return planDeployment({ ...(await resolve()), lockWait: inputs.lockWait }, context)
  },
})

interface Given
  extends Pick<
    DeploymentRequest,
    'reason' | 'force' | 'older' | 'breakGlass' | 'acrossMigration' | 'adopt'
  > {
  release?: ReleaseName | undefined
  without: string[]
  missing: boolean
}

/** What to deploy, read before the lock; what is behind is only known under it. */
async function readRequest(
  { release: name, without, missing, ...given }: Given,
  environment: EnvironmentSettings,
  context: Context,
): Promise<{ app: string; resolve: () => Promise<DeploymentRequest> }> {
  const { reason, force, older, breakGlass, acrossMigration, adopt } = given
  const options = { reason, force, older, breakGlass, acrossMigration, adopt }
  const common = { kind: 'deploy' as const, environment, ...options }
  const hosts = chooseHosts(environment, without, reason)
  const release = name === undefined ? undefined : await findOwnRelease(name, context)
  const app = release?.app ?? (await context.settings()).app
  if (release && !missing) return { app, resolve: async () => ({ ...common, release, hosts }) }
  const wanted = { name, without, reason }
  const resolve = async () => ({
    ...common,
    ...(await catchUp(app, environment, wanted, context)),
  })
  return { app, resolve }
}
