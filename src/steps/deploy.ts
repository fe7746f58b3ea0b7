import { z } from 'zod'
import { duration } from '../core/schema.ts'
import { deployedOutputs, nextLines, summarize } from './deployed.ts'
import { findRelease, putOn, underLock } from './deployment.ts'
import { olderInput, releaseName } from './inputs.ts'
import { defineStep } from './step.ts'

export const deploy = defineStep({
  name: 'deploy',
  summary: 'Put a release on an environment: render its config, replace the containers, verify.',
  example: 'deploy --release webapi@1.4.2 --env test',
  inputs: z.object({
    release: releaseName.describe('Release, as application@version'),
    env: z.string().describe('Environment to deploy to'),
    reason: z.string().default('').describe('Why; it is written into the ledger'),
    force: z
      .boolean()
      .default(false)
      .describe('Deploy a release that is known to be bad there; needs a reason'),
    older: olderInput,
    lockWait: duration.optional().describe('How long to wait for another deployment: 10m'),
  }),
  outputs: deployedOutputs,
  report: ({ release, environment, digest, warMd5, configRevision, url, containers, next }) => [
    `${release} runs in ${environment}`,
    `Image    ${digest}`,
    `WAR MD5  ${warMd5}, compared in ${containers.map(({ host }) => host).join(', ')}`,
    `Config   ${configRevision}`,
    ...(url ? [`Address  ${url}`] : []),
    ...nextLines(next),
  ],
  async run({ release: name, env, reason, force, older, lockWait = 0 }, context) {
    const environment = await context.environment(env)
    const release = await findRelease(name, await context.ledger())
    const request = { kind: 'deploy' as const, release, environment, reason, force, older }
    const { app } = release
    const place = { app, environment: env, reason: reason || 'deploy', patience: lockWait }
    const settings = await context.settings()
    return underLock(place, context, async (lock) =>
      summarize(request, await putOn(request, lock, context), settings),
    )
  },
})
