import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import type { Release } from '../ledger/ledger.ts'
import { parseReference, withDigest } from '../registry/reference.ts'
import type { EnvironmentSettings, HostAddress } from '../settings.ts'
import type { ContainerInfo, Host } from '../target/target.ts'
import { findCurrent, findRelease } from './deployment.ts'
import { type Answer, askHosts, isAnswer, isSilent, joinFaults } from './hosts.ts'
import { formatRelease, releaseName } from './inputs.ts'
import { openImage } from './remote-image.ts'
import { type Context, defineStep } from './step.ts'
import { expectedFiles, type Proof, verifyContainer } from './verification.ts'

export const verifyMd5 = defineStep({
  name: 'verify-md5',
  summary: 'Compare every file inside the running containers with the WAR that was built.',
  example: 'verify-md5 --env test',
  inputs: z.object({
    env: z.string().describe('Environment to verify'),
    release: releaseName
      .optional()
      .describe('Release that must run; default: the one deployed last'),
  }),
  outputs: z.object({
    release: z.string().describe('Release that runs, as application@version'),
    environment: z.string().describe('Environment that was verified'),
    digest: z.string().describe('Digest of the image that runs'),
    warMd5: z.string().describe('MD5 of the WAR'),
    files: z.number().describe('Files compared in each container'),
    hosts: z.array(z.string()).describe('Hosts that were looked at'),
  }),
  report: ({ release, environment, warMd5, files, hosts }) => [
    `${release} in ${environment} is what was built`,
    `WAR MD5  ${warMd5}`,
    `Compared ${files} files on ${hosts.join(', ')}`,
  ],
  async run({ env, release: name }, context) {
    const environment = await context.environment(env)
    const { app } = await context.settings()
    const ledger = await context.ledger()
    const running = name ?? formatRelease(await findCurrent(app, env, ledger))
    const release = await findRelease(running, ledger)
    const image = await openImage(
      await context.registry(),
      withDigest(environment.image, release.digest),
      { what: `${formatRelease(release)} in ${env}:` },
    )
    const expected = await expectedFiles(image, context)
    const hosts = await hostsToVerify(release, environment, context)
    const verify = async (host: Host) => {
      const container = await runningContainer(host, environment.containerName)
      requireDigest(host, container, release.digest, formatRelease(release))
      return verifyContainer(host, container, expected, context)
    }
    // Reading all files of a large application takes its time.
    const answers = await askHosts({ hosts }, context, verify, {
      patience: undefined,
    })
    const proofs = allProofs(answers, context)
    return {
      release: formatRelease(release),
      environment: env,
      digest: release.digest,
      warMd5: expected.warMd5,
      files: proofs[0]?.files ?? 0,
      hosts: proofs.map(({ host }) => host),
    }
  },
})

async function runningContainer(host: Host, name: string): Promise<ContainerInfo> {
  const container = await host.inspect(name)
  if (container?.running) return container
  const why = container ? `has ended with exit code ${container.exitCode}` : 'does not exist'
  throw new StepError('VERIFY_FAILED', `container ${name} on ${host.name} ${why}`, {
    hint: 'Deploy the release again; `docker logs` on that host may tell why it ended.',
  })
}

function requireDigest(
  host: Host,
  container: ContainerInfo,
  digest: string,
  release: string,
): void {
  const running = parseReference(container.image).digest
  if (running === digest) return
  throw new StepError(
    'VERIFY_FAILED',
    `${container.name} on ${host.name} runs ${running ?? container.image}, not ${digest} (${release})`,
    { hint: 'Somebody replaced the container. Deploy the release again.' },
  )
}

/** All but those that the deployment of this very release went past: the ledger knows them. */
async function hostsToVerify(
  { app, version }: Release,
  { name, hosts }: EnvironmentSettings,
  context: Context,
): Promise<HostAddress[]> {
  const deployments = await (await context.ledger()).current(app)
  const current = deployments.find((one) => one.environment === name && one.version === version)
  const left = new Set(current?.hosts.filter(({ ok }) => !ok).map(({ host }) => host))
  for (const host of left) {
    context.log.warn(`host ${host} was left out of ${current?.id}, and is not looked at`)
  }
  return hosts.filter((host) => !left.has(host.name))
}

/** All failures at once: a person wants to know every host that is wrong, or that is silent. */
function allProofs(answers: readonly Answer<Proof>[], { log }: Context): Proof[] {
  const proofs = answers.filter(isAnswer).map(({ value }) => value)
  const failure = joinFaults(answers.filter(isSilent).map(({ fault }) => fault))
  if (!failure) return proofs
  for (const { host, files } of proofs) log.info(`host ${host}: ${files} files are what was built`)
  throw failure
}
