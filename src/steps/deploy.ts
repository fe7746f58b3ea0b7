import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { z } from 'zod'
import { parseDigest } from '../core/digest.ts'
import { describe, StepError, toStepError } from '../core/errors.ts'
import type { Deployment, DeploymentEnd, Ledger, Lock, Release } from '../ledger/ledger.ts'
import { withDigest } from '../registry/reference.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { isRolloutFailure, rollOut } from '../target/rollout.ts'
import type { ContainerSpec, Host, HostResult } from '../target/target.ts'
import { formatRelease, imageByDigest, parseRelease, releaseName } from './inputs.ts'
import { openImage, type RemoteImage } from './remote-image.ts'
import { type Rendering, renderFor } from './rendering.ts'
import { type Context, defineStep } from './step.ts'
import {
  configFilesLabel,
  containerLabels,
  type Expectation,
  expectedFiles,
  verifyContainer,
} from './verification.ts'

export const deploy = defineStep({
  name: 'deploy',
  summary: 'Put a release on an environment: render its config, replace the containers, verify.',
  example: 'deploy --release webapi@1.4.2 --env test',
  inputs: z.object({
    release: releaseName.describe('Release, as application@version'),
    env: z.string().describe('Environment to deploy to'),
    reason: z.string().default('').describe('Why; it is written into the ledger'),
  }),
  outputs: z.object({
    release: z.string().describe('Release, as application@version'),
    environment: z.string().describe('Environment it runs in'),
    deployment: z.string().describe('Identifier of the deployment in the ledger'),
    digest: z.string().describe('Digest of the image that runs'),
    warMd5: z.string().describe('MD5 of the WAR, compared inside the containers'),
    configRevision: z.string().describe('Config revision it was rendered from'),
    verified: z.boolean().describe('Whether every file was compared'),
    url: z.string().optional().describe('Where it answers'),
    containers: z
      .array(
        z.object({
          host: z.string(),
          containerId: z.string(),
          url: z.string().optional(),
          silence: z.number().describe('Milliseconds without an answer'),
        }),
      )
      .describe('The containers that run now'),
  }),
  report: ({ release, environment, digest, warMd5, configRevision, url, containers }) => [
    `${release} runs in ${environment}`,
    `Image    ${digest}`,
    `WAR MD5  ${warMd5}, compared in ${containers.map(({ host }) => host).join(', ')}`,
    `Config   ${configRevision}`,
    ...(url ? [`Address  ${url}`] : []),
  ],
  async run({ release: name, env, reason }, context) {
    const environment = await context.environment(env)
    const ledger = await context.ledger()
    const release = await findRelease(name, ledger)
    const plan = await prepare(release, environment, context)
    return withLock(release.app, environment, reason, context, async (checkLock) => {
      const deployment = await begin(plan, reason, ledger, context)
      const results = await carryOut(plan, deployment, checkLock, context).catch(async (error) => {
        // A ledger that cannot be written to must not hide why the deployment failed.
        await ledger.endDeployment(deployment.id, failureOf(error, context)).catch((fault) => {
          context.log.warn(`the ledger does not know of this failure: ${describe(fault)}`)
        })
        throw error
      })
      await ledger.endDeployment(deployment.id, {
        state: 'succeeded',
        hosts: results.map((result) => ({ ...result, ok: true })),
        verified: true,
      })
      return summary(plan, deployment, results)
    })
  },
})

/** Everything a deployment needs, found and checked before anything changes. */
interface Plan {
  release: Release
  environment: EnvironmentSettings
  image: RemoteImage
  rendering: Rendering
  expected: Expectation
  hosts: Host[]
}

export async function findRelease(name: string, ledger: Ledger): Promise<Release> {
  const { app, version } = parseRelease(name)
  const found = await ledger.findRelease(app, version)
  if (found) return found
  const known = (await ledger.releases(app, 5)).map(formatRelease).join(', ')
  throw new StepError('NOT_FOUND', `release ${name} is not in the ledger ${ledger.name}`, {
    hint: known ? `The newest are ${known}.` : 'Run `crosscloud push-image` first.',
  })
}

async function prepare(
  release: Release,
  environment: EnvironmentSettings,
  context: Context,
): Promise<Plan> {
  const digest = parseDigest(release.digest)
  const image = await openImage(await context.registry(), withDigest(environment.image, digest), {
    what: `${formatRelease(release)} for ${environment.name}:`,
  })
  const [rendering, expected, hosts] = await Promise.all([
    renderFor(environment, image, context),
    expectedFiles(image, context),
    context.hosts(environment),
  ])
  if (hosts.length > 0) return { release, environment, image, rendering, expected, hosts }
  throw new StepError('INPUT_INVALID', `environment ${environment.name} has no hosts`, {
    hint: `Name at least one under environments.${environment.name}.hosts in crosscloud.yml.`,
  })
}

async function begin(
  { release, environment, rendering }: Plan,
  reason: string,
  ledger: Ledger,
  { actor }: Context,
): Promise<Deployment> {
  await ledger.recordConfigRevision(rendering.revision, rendering.description)
  return ledger.startDeployment({
    app: release.app,
    version: release.version,
    environment: environment.name,
    digest: release.digest,
    configRevision: rendering.revision,
    by: actor.by,
    reason: reason || undefined,
  })
}

/** The containers are verified one by one, each before the next host is touched. */
function carryOut(
  plan: Plan,
  deployment: Deployment,
  checkLock: () => void,
  context: Context,
): Promise<HostResult[]> {
  return rollOut({
    hosts: plan.hosts,
    spec: containerSpec(plan, deployment),
    log: context.log,
    signal: context.signal,
    checkLock,
    verify: async (host, container) => {
      const { files } = await verifyContainer(host, container, plan.expected, context)
      context.log.info(`${files} files are what was baked, WAR MD5 ${plan.expected.warMd5}`)
    },
  })
}

function failureOf(error: unknown, { secrets }: Context): DeploymentEnd {
  const { code, message } = toStepError(error)
  const hosts = isRolloutFailure(error) ? error.hosts : []
  return {
    state: 'failed',
    error: secrets.mask(`${code}: ${message}`),
    verified: false,
    hosts: hosts.map(({ host, containerId, duration }) => ({
      host,
      containerId,
      previousContainerId: undefined,
      url: undefined,
      ok: false,
      duration,
    })),
  }
}

function containerSpec(
  { release, environment, rendering }: Plan,
  deployment: Deployment,
): ContainerSpec {
  return {
    name: environment.containerName,
    image: imageByDigest(environment.image, release.digest),
    settings: environment.container,
    files: rendering.files,
    labels: {
      [containerLabels.application]: release.app,
      [containerLabels.environment]: environment.name,
      [containerLabels.version]: release.version,
      [containerLabels.deployment]: deployment.id,
      [containerLabels.configRevision]: rendering.revision,
      [containerLabels.configFiles]: configFilesLabel(rendering.files),
    },
  }
}

function summary(
  { release, environment, expected }: Plan,
  deployment: Deployment,
  results: HostResult[],
) {
  return {
    release: formatRelease(release),
    environment: environment.name,
    deployment: deployment.id,
    digest: release.digest,
    warMd5: expected.warMd5,
    configRevision: deployment.configRevision,
    verified: true,
    url: environment.url ?? results[0]?.url,
    containers: results.map(({ host, containerId, url, silence }) => ({
      host,
      containerId,
      url,
      silence,
    })),
  }
}

const LOCK_TTL = 60_000
const HEARTBEAT = 15_000

/** Holds the lock of application and environment while `work` runs; a lost lock stops the rollout. */
async function withLock<T>(
  app: string,
  environment: EnvironmentSettings,
  reason: string,
  context: Context,
  work: (checkLock: () => void) => Promise<T>,
): Promise<T> {
  const ledger = await context.ledger()
  const owner = `${context.actor.by} (${hostname()}:${process.pid}:${randomUUID().slice(0, 8)})`
  let lock: Lock = await ledger.lock(app, environment.name, owner, reason || 'deploy', LOCK_TTL)
  let lost: unknown
  const timer = setInterval(() => {
    ledger.heartbeat(lock, LOCK_TTL).then(
      (extended) => {
        lock = extended
      },
      (error) => {
        if (toStepError(error).code === 'CONFLICT') lost = error
      },
    )
  }, HEARTBEAT)
  try {
    return await work(() => {
      if (lost !== undefined) throw lost
    })
  } finally {
    clearInterval(timer)
    await ledger.unlock(lock).catch((error) => context.log.warn(toStepError(error).message))
  }
}
