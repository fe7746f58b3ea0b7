import { z } from 'zod'
import type { Settings } from '../../settings.ts'
import { formatRelease } from '../release-name.ts'
import type { Deployed } from './deployment.ts'
import type { DeploymentRequest } from './request.ts'

/**
 * Of slots none can be derived: the next deployment is in the other one, and what a proxy listens on is
 * in a file of its operators.
 */
export const addressOutput = z
  .string()
  .optional()
  .describe("Where it answers: the environment's url, else a host's port; in slots the url only")

/** The outputs of `deploy` and of `rollback`, which is a deployment, too. */
export const deployedOutputs = z.object({
  release: z.string().describe('Release, as application@version'),
  environment: z.string().describe('Environment it runs in'),
  deployment: z.string().describe('Identifier of the deployment in the ledger'),
  digest: z.string().describe('Digest of the image that runs'),
  warMd5: z.string().describe('MD5 of the WAR, compared inside the containers'),
  configRevision: z.string().describe('Config revision it was rendered from'),
  verified: z.boolean().describe('Whether every file was compared'),
  url: addressOutput,
  next: z.string().optional().describe('Environment that a release goes to from here'),
  containers: z
    .array(
      z.object({
        host: z.string(),
        slot: z.number().optional().describe('Of the two slots of its host'),
        containerId: z.string(),
        url: z.string().optional(),
        downtime: z.number().describe('Milliseconds without a response'),
        silence: z.number().describe('Old name of downtime; use that'),
      }),
    )
    .describe('The containers that run now'),
})

/** What a tester may do next, in the job's log. */
export function nextLines(next: string | undefined): string[] {
  if (next === undefined) return []
  return [`Next     ${next}: \`crosscloud promote --to ${next}\``]
}

/** The address; of a slot only while nothing else is deployed, so it is called what it is. */
export function addressLines({
  url,
  containers,
}: Pick<z.output<typeof deployedOutputs>, 'url' | 'containers'>): string[] {
  if (url !== undefined) return [`Address  ${url}`]
  return containers.flatMap(({ host, slot, url: at }) =>
    slot !== undefined && at !== undefined ? [`Slot     ${slot} of ${host}, at ${at}`] : [],
  )
}

export function nextAfter(name: string, { environments }: Settings): string | undefined {
  return Object.keys(environments).find((next) => environments[next]?.from === name)
}

/** What a composite step outputs of the deployment that it ran and verified. */
export function summarizeRun({
  configRevision,
  deployment,
  url,
  next,
}: z.output<typeof deployedOutputs>) {
  return { configRevision, deployment, url, next, verified: true }
}

export function summarize(
  { release, environment }: DeploymentRequest,
  { deployment, warMd5, results }: Deployed,
  settings: Settings,
): z.output<typeof deployedOutputs> {
  return {
    release: formatRelease(release),
    environment: environment.name,
    deployment: deployment.id,
    digest: release.digest,
    warMd5,
    configRevision: deployment.configRevision,
    verified: true,
    url: environment.url ?? results.find(({ slot }) => slot === undefined)?.url,
    next: nextAfter(environment.name, settings),
    containers: results.map(({ host, slot, instanceId, url, downtime }) => ({
      host,
      ...(slot !== undefined && { slot }),
      containerId: instanceId,
      url,
      downtime,
      silence: downtime,
    })),
  }
}
