import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import type { Context } from '../delivery/context.ts'
import { openImage } from '../delivery/image/remote-image.ts'
import { findCurrent, findOwnRelease } from '../delivery/release.ts'
import { formatRelease } from '../delivery/release-name.ts'
import {
  describeFiles,
  expectedFiles,
  type Proof,
  verifyInstance,
} from '../delivery/verification/verification.ts'
import type { Release } from '../ledger/ledger.ts'
import { parseReference, withDigest } from '../registry/reference.ts'
import { type EnvironmentSettings, withHosts } from '../settings.ts'
import { continueWith, failureOf, type HostResponse, isSuccess } from '../targets/responses.ts'
import type { Instance } from '../targets/target.ts'
import { releaseName, remote } from './inputs.ts'
import { defineStep } from './step.ts'

export const verifyMd5 = defineStep({
  name: 'verify-md5',
  summary:
    'Compare every file inside the running containers with the WAR and the image that were built.',
  example: 'verify-md5 --env test',
  ci: { environment: 'verify' },
  inputs: z.object({
    env: remote(z.string().describe('Environment to verify')),
    release: remote(
      releaseName.optional().describe('Release that must run; default: the one deployed last'),
    ),
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
    ...(written.length > 0
      ? [`Written  ${written.map(describePlace).join(', ')}; not compared`]
      : []),
    ...(volumes.length > 0 ? [`Volumes  ${volumes.join(', ')}; not compared`] : []),
  ],
  async run({ env, release: name }, context) {
    const environment = await context.environment(env)
    const { app } = await context.settings()
    const running = name ?? (await findCurrent(app, env, await context.ledger()))
    const release = await findOwnRelease(running, context)
    const image = await openImage(
      await context.registry(),
      withDigest(environment.image, release.digest),
      { what: `${formatRelease(release)} in ${env}:` },
    )
    const expected = await expectedFiles(image, context)
    const target = await context.target(await environmentToVerify(release, environment, context))
    const found = await target.instances({ roles: ['current'] })
    const responses = await continueWith(found, (instances, host) => {
      requireRunning(instances, host, environment.containerName)
      return Promise.all(
        instances.map((instance) => {
          requireDigest(instance, release.digest, formatRelease(release))
          return verifyInstance(target, instance, expected, context)
        }),
      )
    })
    const proofs = requireProofs(responses, context)
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
      hosts: [...new Set(proofs.map(({ host }) => host))],
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
  return describeFiles({ war, image, rendered })
}

type Counts = Omit<ReturnType<typeof countsIn>, 'files'>

function describePlace({
  host,
  path,
  count,
}: {
  host: string
  path: string
  count: number
}): string {
  return `${count} in ${path} on ${host}`
}

function requireRunning(instances: readonly Instance[], host: string, name: string): void {
  const ended = instances.find(({ running }) => !running)
  if (instances.length > 0 && ended === undefined) return
  const why = ended ? `has ended with exit code ${ended.exitCode}` : 'does not exist'
  throw new StepError('VERIFY_FAILED', `container ${name} on ${host} ${why}`, {
    hint: 'Deploy the release again; `docker logs` on that host may tell why it ended.',
  })
}

function requireDigest({ image, name, host }: Instance, digest: string, release: string): void {
  const running = parseReference(image).digest
  if (running === digest) return
  throw new StepError(
    'VERIFY_FAILED',
    `${name} on ${host} runs ${running ?? image}, not ${digest} (${release})`,
    { hint: 'Somebody replaced the container. Deploy the release again.' },
  )
}

/** With all hosts but those that the deployment of this very release left out, by the ledger. */
async function environmentToVerify(
  { app, version }: Release,
  environment: EnvironmentSettings,
  context: Context,
): Promise<EnvironmentSettings> {
  const current = await (await context.ledger()).currentDeployment(app, environment.name)
  if (current?.version !== version) return environment
  const left = new Set(current.hosts.filter(({ ok }) => !ok).map(({ host }) => host))
  for (const host of left) {
    context.log.warn(`host ${host} was left out of ${current.id}, and is not looked at`)
  }
  return withHosts(
    environment,
    environment.hosts.filter(({ name }) => !left.has(name)),
  )
}

/** All failures at once: a person needs every host that is wrong, or silent. */
function requireProofs(responses: readonly HostResponse<Proof[]>[], { log }: Context): Proof[] {
  const proofs = responses.filter(isSuccess).flatMap(({ value }) => value)
  const failure = failureOf(responses)
  if (!failure) return proofs
  for (const proof of proofs) {
    log.info(`host ${proof.host}: ${describeFiles(proof)}, as they were built`)
  }
  throw failure
}
