import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { duration } from '../core/settings/schema.ts'
import { renderRelease, withoutWarnings } from '../delivery/config/release-config.ts'
import type { Context } from '../delivery/context.ts'
import { chooseHosts } from '../delivery/deployment/host-choice.ts'
import { addressOutput, nextLines, summarizeRun } from '../delivery/deployment/outcome.ts'
import { identifyDeployer, passGate, requireVerifiedUpstream } from '../delivery/gate/gate.ts'
import { findOwnRelease, findRelease } from '../delivery/release.ts'
import { formatRelease, type ReleaseName } from '../delivery/release-name.ts'
import { warnOfOlder } from '../delivery/release-order.ts'
import type { Release } from '../ledger/ledger.ts'
import { withDigest, withTag } from '../registry/reference.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { deploy as deployStep } from './deploy.ts'
import {
  acrossMigrationInput,
  callStep,
  forceInput,
  lockWaitInput,
  olderInput,
  planInput,
  reasonInput,
  releaseName,
  remote,
} from './inputs.ts'
import { renderConfig } from './render-config.ts'
import { retagImage } from './retag-image.ts'
import { defineStep } from './step.ts'
import { verifyMd5 } from './verify-md5.ts'

export const promote = defineStep({
  name: 'promote',
  summary: 'Bring a release, unchanged, from the environment before to the next one.',
  example: 'promote --release webapi@1.4.2 --to staging',
  ci: { environment: 'change', identity: true },
  inputs: z
    .object({
      release: remote(
        releaseName
          .optional()
          .describe('Release; default: the one that runs in the environment before'),
      ),
      to: remote(z.string().describe('Environment to bring it to')),
      reason: reasonInput,
      force: forceInput,
      older: olderInput,
      acrossMigration: acrossMigrationInput,
      lockWait: lockWaitInput,
      deploy: remote(
        z
          .boolean()
          .default(true)
          .describe(
            'Deploy it; else only bring the image there, and check that its config is complete',
          ),
      ),
      plan: planInput,
    })
    .check(({ value: { deploy, plan }, issues }) => {
      if (deploy || !plan) return
      const message = 'is of the deployment: leave out `--no-deploy`'
      issues.push({ code: 'custom', path: ['plan'], input: plan, message })
    }),
  environmentInput: 'to',
  outputs: z.object({
    release: z.string().describe('Release, as application@version'),
    environment: z.string().describe('Environment it was brought to'),
    image: z.string().describe('Reference by digest'),
    digest: z.string().describe('Digest of the image, the same as before'),
    warMd5: z.string().describe('MD5 of the WAR'),
    configRevision: z.string().describe('Config revision it was rendered from'),
    deployment: z.string().optional().describe('Identifier of the deployment in the ledger'),
    verified: z.boolean().describe('Whether every file in the containers was compared'),
    url: addressOutput,
    next: z.string().optional().describe('Environment that a release goes to from here'),
    gated: z
      .boolean()
      .optional()
      .describe('Whether somebody must approve it before it is deployed'),
  }),
  report: ({ release, environment, deployment, digest, warMd5, url, next, gated }) => [
    deployment
      ? `${release} runs in ${environment}, unchanged`
      : `${release} is ready for ${environment}, unchanged, and its config is complete`,
    `Image    ${digest}`,
    `WAR MD5  ${warMd5}`,
    ...(url ? [`Address  ${url}`] : []),
    ...(gated ? [gateLine(release, environment)] : []),
    ...nextLines(next),
  ],
  async run({ release: name, to, deploy, lockWait, ...options }, context) {
    const target = await context.environment(to)
    const source = await sourceOf(target, context)
    const release = await resolveRelease(name, source, context)
    if (name !== undefined) await requireVerifiedUpstream(release, target, context)
    // Before anything is copied; the deployment renders and passes the gate again, under its lock.
    const { revision: configRevision } = await renderRelease(
      release,
      target,
      withoutWarnings(context),
    )
    if (deploy) {
      const who = await identifyDeployer(target, context)
      await passGate({ release, environment: target, configRevision }, who, context)
    }
    const { image, digest } = await callStep(
      retagImage,
      {
        image: withDigest(source.image, release.digest),
        to: withTag(target.image, release.version),
      },
      context,
    )
    if (!deploy && !options.older) await warnOfOlder(release, to, context)
    const result = {
      release: formatRelease(release),
      environment: to,
      image,
      digest,
      warMd5: release.warMd5,
    }
    if (!deploy) return { ...result, ...(await prepare(release, target, context)) }
    const given = { release, env: to, lockWait, ...options }
    const deployed = await callStep(deployStep, given, context)
    await callStep(verifyMd5, { env: to, release }, context)
    return { ...result, ...summarizeRun(deployed) }
  },
  async plan({ release: name, to, lockWait, deploy: _deploy, plan: _plan, ...options }, context) {
    const environment = await context.environment(to)
    const source = await sourceOf(environment, context)
    const release = await resolveRelease(name, source, context)
    const hosts = chooseHosts(environment, [], options.reason)
    const request = { kind: 'deploy' as const, release, environment, hosts, ...options }
    const { planDeployment } = await import('../delivery/plan/plan.ts')
    const waits = lockWait === undefined ? undefined : duration.parse(lockWait)
    return planDeployment({ ...request, source, lockWait: waits }, context)
  },
})

function gateLine(release: string, environment: string): string {
  const approve = `crosscloud approve --release ${release} --env ${environment}`
  return `Next     somebody who may: \`${approve}\`; then it can be deployed`
}

/** Finds now, before an approval is requested, what would stop the deployment. */
async function prepare(release: Release, target: EnvironmentSettings, context: Context) {
  const given = { env: target.name, release, check: true }
  const { configRevision } = await callStep(renderConfig, given, context)
  const gated = target.gate !== undefined
  return { configRevision, verified: false, gated }
}

async function sourceOf(
  target: EnvironmentSettings,
  context: Context,
): Promise<EnvironmentSettings> {
  if (target.from !== undefined) return context.environment(target.from)
  throw new StepError('INPUT_INVALID', `${target.name} has no environment before it`, {
    hint: `Set environments.${target.name}.from in crosscloud.yml, or use \`crosscloud release\`.`,
  })
}

/** The requested release, or the release that runs there. */
async function resolveRelease(
  name: ReleaseName | undefined,
  source: EnvironmentSettings,
  context: Context,
): Promise<Release> {
  const { app } = await context.settings()
  const ledger = await context.ledger()
  if (name === undefined) {
    const running = await ledger.currentDeployment(app, source.name)
    if (running) return findRelease(running, ledger)
    throw new StepError('NOT_FOUND', `nothing of ${app} was deployed to ${source.name} yet`, {
      hint: `Run \`crosscloud release --env ${source.name}\` first.`,
    })
  }
  return findOwnRelease(name, context)
}
