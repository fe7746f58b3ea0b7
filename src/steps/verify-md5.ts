import { z } from 'zod'
import { StepError, toStepError } from '../core/errors.ts'
import { parseReference, withDigest } from '../registry/reference.ts'
import type { ContainerInfo, Host } from '../target/target.ts'
import { findRelease } from './deployment.ts'
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
    const release = await findRelease(
      name ?? (await deployedRelease(app, env, context)),
      await context.ledger(),
    )
    const image = await openImage(
      await context.registry(),
      withDigest(environment.image, release.digest),
      { what: `${formatRelease(release)} in ${env}:` },
    )
    const expected = await expectedFiles(image, context)
    const hosts = await context.hosts(environment)
    const results = await Promise.allSettled(
      hosts.map(async (host) => {
        const container = await runningContainer(host, environment.containerName)
        requireDigest(host, container, release.digest, formatRelease(release))
        return verifyContainer(host, container, expected, context)
      }),
    )
    const proofs = allProofs(results)
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

/** What the ledger says runs there. */
async function deployedRelease(app: string, env: string, context: Context): Promise<string> {
  const current = await (await context.ledger()).current(app)
  const found = current.find(({ environment }) => environment === env)
  if (found) return formatRelease(found)
  throw new StepError('NOT_FOUND', `nothing of ${app} was deployed to ${env} yet`, {
    hint: `Run \`crosscloud deploy --release ${app}@VERSION --env ${env}\`.`,
  })
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

/** All failures at once: a person wants to know every host that is wrong. */
function allProofs(results: PromiseSettledResult<Proof>[]): Proof[] {
  const failures = results
    .filter((result) => result.status === 'rejected')
    .map(({ reason }) => toStepError(reason))
  const [first, ...others] = failures
  if (!first)
    return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  if (others.length === 0) throw first
  throw new StepError(first.code, failures.map(({ message }) => message).join('\n'), {
    hint: first.hint,
    cause: first,
  })
}
