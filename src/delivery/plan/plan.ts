import type { Deployment, Release } from '../../ledger/ledger.ts'
import { imageByDigest } from '../../registry/reference.ts'
import { instanceLabels } from '../../targets/labels.ts'
import type { ProxyPreview } from '../../targets/proxy.ts'
import { byText, type HostResponse, isSuccess } from '../../targets/responses.ts'
import type { HostPreview, Target } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { checkAll } from '../deployment/checks.ts'
import type { Content } from '../deployment/content.ts'
import type { DeploymentRequest } from '../deployment/request.ts'
import { warnOfUnsigned } from '../gate/break-glass.ts'
import type { RemoteImage } from '../image/remote-image.ts'
import { formatRelease } from '../release-name.ts'
import { skippedRelease } from '../skipped-release.ts'
import { planCommits } from './commits.ts'
import { planConfig } from './config.ts'
import { hashOf } from './hash.ts'
import { planHosts, planRollout } from './hosts.ts'
import { planImage, readPlanned } from './image.ts'
import { checkLock, collectObstacles, type Obstacles } from './obstacles.ts'
import { planProxy } from './proxy.ts'
import type { PlanRequest } from './request.ts'
import type { Plan } from './schema.ts'

/**
 * What a deployment would do, and all that stands in its way: by the checks of the deployment
 * itself, with read rights alone. It takes no lock and writes nothing.
 */
export async function planDeployment(request: PlanRequest, outer: Context): Promise<Plan> {
  const obstacles = collectObstacles(outer)
  const { context, attempt, problems, warnings } = obstacles
  await warnOfUnsigned(request.release.app, request.environment.name, context)
  const lock = await checkLock(request, obstacles)
  const { target, content } = await checkAll(request, context, attempt, readPlanned(request))
  const previews = await preview(request, target, content?.image, context)
  for (const { value } of previews.filter(isSuccess)) {
    const { refusal } = value
    if (refusal) obstacles.note(refusal.code === 'CONFLICT' ? 'owner' : 'hosts', refusal)
  }
  const told = previews.filter(isSuccess).map(({ host, value }) => ({ host, text: value.warning }))
  for (const warning of byText(told)) context.log.warn(warning)
  const proxy = await attempt('proxy', () => target.previewProxy())
  const facts = await findFacts(request, content, { previews, proxy }, obstacles)
  const ready = problems.length === 0
  return { ...facts, lock, ready, problems, warnings, hash: hashOf(request, facts) }
}

type Facts = Omit<Plan, 'lock' | 'ready' | 'problems' | 'warnings' | 'hash'>

/** What hosts, and the proxy in front of them, say of themselves. */
interface Found {
  previews: readonly HostResponse<HostPreview>[]
  proxy: ProxyPreview | undefined
}

async function findFacts(
  request: PlanRequest,
  content: Content | undefined,
  { previews, proxy }: Found,
  obstacles: Obstacles,
): Promise<Facts> {
  const { context } = obstacles
  const { release, environment, source, kind } = request
  const ledger = await context.ledger()
  const current = await ledger.currentDeployment(release.app, environment.name)
  const before = current && (await ledger.findRelease(release.app, current.version))
  const running = previews.filter(isSuccess).flatMap(({ value }) => value.current ?? [])
  const hosts = planHosts(request, previews, content?.image)
  return {
    kind: source ? 'promote' : kind,
    release: formatRelease(release),
    environment: environment.name,
    digest: release.digest,
    warMd5: release.warMd5,
    from: current ? describeCurrent(current, before) : null,
    to: describeRelease(release),
    skipped: request.skipped?.map(skippedRelease) ?? [],
    commits: await planCommits(before, release, context),
    config: await planConfig(current, content?.rendering, running, environment, context),
    image: content ? await planImage(request, content.image, obstacles) : null,
    hosts,
    rollout: planRollout(request),
    proxy: proxy ? planProxy(request, proxy, hosts) : null,
  }
}

async function preview(
  { release, environment, adopt }: DeploymentRequest,
  target: Target,
  image: RemoteImage | undefined,
  context: Context,
): Promise<HostResponse<HostPreview>[]> {
  const ledger = await context.ledger()
  return target.preview({
    image: imageByDigest(environment.image, release.digest),
    diffIds: image?.config.rootfs.diff_ids ?? [],
    labels: {
      [instanceLabels.application]: release.app,
      [instanceLabels.environment]: environment.name,
      [instanceLabels.lock]: `${await ledger.id()}:0`,
    },
    adopt,
    proxied: environment.proxy !== undefined,
  })
}

const describeRelease = (release: Release): Plan['to'] => ({
  name: formatRelease(release),
  digest: release.digest,
  commit: release.commit ?? null,
})

function describeCurrent(current: Deployment, release: Release | undefined): Plan['from'] {
  const { id: deployment, digest, startedAt, finishedAt = startedAt } = current
  const name = formatRelease(current)
  return { name, digest, commit: release?.commit ?? null, deployment, since: finishedAt }
}
