import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { joinErrors } from '../core/settle-all.ts'
import type { Context } from '../delivery/context.ts'
import { findCurrent, findOwnRelease } from '../delivery/deployment/deployment.ts'
import { type Answer, askHosts, isAnswer, isSilent } from '../delivery/deployment/hosts.ts'
import { openImage } from '../delivery/image/remote-image.ts'
import { formatRelease } from '../delivery/release-name.ts'
import {
  expectedFiles,
  filesTold,
  type Proof,
  verifyContainer,
} from '../delivery/verification/verification.ts'
import type { Release } from '../ledger/ledger.ts'
import { parseReference, withDigest } from '../registry/reference.ts'
import type { EnvironmentSettings, HostAddress } from '../settings.ts'
import type { ContainerInfo, Host } from '../targets/docker/host.ts'
import { releaseName } from './inputs.ts'
import { defineStep } from './step.ts'

export const verifyMd5 = defineStep({
  name: 'verify-md5',
  summary:
    'Compare every file inside the running containers with the WAR and the image that were built.',
  example: 'verify-md5 --env test',
  ci: { environment: 'verify' },
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
    warFiles: z.number().describe('Those of the web application'),
    imageFiles: z.number().describe('Those that bake-image put beside it'),
    renderedFiles: z.number().describe('Those rendered from the config'),
    written: z
      .array(z.object({ host: z.string(), path: z.string(), count: z.number() }))
      .describe('What the application wrote where it may; not compared'),
    volumes: z.array(z.string()).describe('Where volumes are mounted; not compared'),
    hosts: z.array(z.string()).describe('Hosts that were looked at'),
  }),
  report: ({ release, environment, warMd5, hosts, written, volumes, ...files }) => [
    `${release} in ${environment} is what was built`,
    `WAR MD5  ${warMd5}`,
    `Compared ${countsOf(files)} on ${hosts.join(', ')}; nothing else changed`,
    ...(written.length > 0 ? [`Written  ${written.map(placeTold).join(', ')}; not compared`] : []),
    ...(volumes.length > 0 ? [`Volumes  ${volumes.join(', ')}; not compared`] : []),
  ],
  async run({ env, release: name }, context) {
    const environment = await context.environment(env)
    const { app } = await context.settings()
    const ledger = await context.ledger()
    const running = name ?? formatRelease(await findCurrent(app, env, ledger))
    const release = await findOwnRelease(running, context)
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
      timeout: undefined,
    })
    const proofs = allProofs(answers, context)
    return {
      release: formatRelease(release),
      environment: env,
      digest: release.digest,
      warMd5: expected.warMd5,
      ...countsIn(proofs),
      written: proofs.flatMap(({ host, written }) =>
        [...written].map(([path, count]) => ({ host, path, count })),
      ),
      volumes: [...new Set(proofs.flatMap((proof) => proof.volumes))].sort(),
      hosts: proofs.map(({ host }) => host),
    }
  },
})

/** The same in each container. */
function countsIn([proof]: readonly Proof[]) {
  const { war = 0, image = 0, rendered = 0 } = proof ?? {}
  return {
    files: war + image + rendered,
    warFiles: war,
    imageFiles: image,
    renderedFiles: rendered,
  }
}

function countsOf({ warFiles: war, imageFiles: image, renderedFiles: rendered }: Counts): string {
  return filesTold({ war, image, rendered })
}

type Counts = Omit<ReturnType<typeof countsIn>, 'files'>

function placeTold({ host, path, count }: { host: string; path: string; count: number }): string {
  return `${count} in ${path} on ${host}`
}

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
  const current = await (await context.ledger()).currentDeployment(app, name)
  if (current?.version !== version) return [...hosts]
  const left = new Set(current.hosts.filter(({ ok }) => !ok).map(({ host }) => host))
  for (const host of left) {
    context.log.warn(`host ${host} was left out of ${current.id}, and is not looked at`)
  }
  return hosts.filter((host) => !left.has(host.name))
}

/** All failures at once: a person wants to know every host that is wrong, or that is silent. */
function allProofs(answers: readonly Answer<Proof>[], { log }: Context): Proof[] {
  const proofs = answers.filter(isAnswer).map(({ value }) => value)
  const failure = joinErrors(answers.filter(isSilent).map(({ fault }) => fault))
  if (!failure) return proofs
  for (const proof of proofs)
    log.info(`host ${proof.host}: ${filesTold(proof)}, as they were built`)
  throw failure
}
