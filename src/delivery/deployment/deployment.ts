import { StepError } from '../../core/errors.ts'
import { joinErrors } from '../../core/settle-all.ts'
import type { Who } from '../../identity/who.ts'
import type {
  Deployment,
  DeploymentKind,
  DeploymentStart,
  Ledger,
  Release,
} from '../../ledger/ledger.ts'
import { imageByDigest } from '../../registry/reference.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type {
  ContainerInfo,
  ContainerSettings,
  ContainerSpec,
  Host,
  HostResult,
} from '../../targets/docker/host.ts'
import { isRolloutFailure, rollOut } from '../../targets/docker/rollout/rollout.ts'
import type { Context } from '../context.ts'
import { identifyActing, warnOfUnsigned } from '../gate/break-glass.ts'
import { passGate, requireRunBefore } from '../gate/gate.ts'
import { formatRelease, parseRelease, requireApplication } from '../release-name.ts'
import { refuseOlder } from '../release-order.ts'
import {
  configFilesLabel,
  containerLabels,
  filesTold,
  verifyContainer,
} from '../verification/verification.ts'
import { type Content, readContent } from './content.ts'
import type { HostChoice } from './host-choice.ts'
import { askHosts, isAnswer, isSilent } from './hosts.ts'
import { refuseBad } from './known-bad.ts'
import { type HeldLock, type LockRequest, withLock } from './lock.ts'
import { recordEnd, recordFailure, recordStart, type SuccessFacts, successOf } from './record.ts'
import { findTakenOut } from './removed-hosts.ts'

/** What shall run where, and why; a rollback is one of these, too. */
export interface DeploymentRequest {
  kind: DeploymentKind
  release: Release
  environment: EnvironmentSettings
  reason: string
  hosts: HostChoice
  /** Overrules that the release is known to be bad there; never the gate. */
  force: boolean
  /** Goes past the gate, by somebody whom the settings name; never past a mark. */
  breakGlass?: boolean | undefined
  /** Says that a release older than the one that runs is meant. */
  older: boolean
  /** Takes over containers that have the name and are not ours. */
  adopt?: boolean | undefined
  /** The config's keys as the ledger kept them; else those of now. */
  values?: ReadonlyMap<string, string> | undefined
  /** The config revision that must come of it, where hosts run that already. */
  revision?: string | undefined
  /** Version of the release that is rolled back from: bad there once this one runs. */
  bad?: string | undefined
}

/** What runs after a deployment. */
export interface Deployed {
  deployment: Deployment
  warMd5: string
  results: HostResult[]
}

/**
 * Deploys under the lock of application and environment. A cancelled deployment has only seconds:
 * it puts the old containers back, tells the ledger and gives the lock back, and only then waits to
 * see whether they serve.
 */
export async function underLock<T>(
  place: LockRequest,
  context: Context,
  work: (lock: HeldLock) => Promise<T>,
): Promise<T> {
  let free = false
  const onFree = () => {
    free = true
  }
  try {
    return await withLock({ ...place, onFree }, context, work)
  } catch (error) {
    if (!isRolloutFailure(error) || !error.prove) throw error
    if (free) context.log.info('the lock is free')
    context.log.info('looking whether what was put back serves')
    throw await error.prove()
  }
}

/** The one way onto an environment. The caller holds the lock of application and environment. */
export async function putOn(
  request: DeploymentRequest,
  lock: HeldLock,
  context: Context,
): Promise<Deployed> {
  const who = await identifyActing(request, context)
  const { release, environment, breakGlass } = request
  await warnOfUnsigned(release.app, environment.name, context)
  await refuseBad(request, await context.ledger())
  if (isNew(request) && !breakGlass) await requireRunBefore(release, environment, context)
  const found = await readContent(request, context)
  const approvals = await approvalsOf(request, found, who, context)
  const plan = await prepare(request, found, context)
  const { revision: name, description: content } = plan.rendering
  const start = {
    ...startOf(plan, lock, context),
    by: who.login,
    identity: who.identity,
    approvals,
    breakGlass: breakGlass ? { byId: who.id } : undefined,
  }
  const deployment = await recordStart(start, { name, content }, context)
  if (breakGlass) await warnOfUnsigned(release.app, environment.name, context, deployment.id)
  let results: HostResult[]
  try {
    results = await carryOut(plan, deployment, lock, context)
  } catch (error) {
    await recordFailure(deployment, error, context)
    throw error
  }
  await recordEnd(deployment, successOf(results, factsOf(request, who)), context)
  return { deployment, warMd5: plan.expected.warMd5, results }
}

function factsOf(request: DeploymentRequest, { login: by, identity }: Who): SuccessFacts {
  const { bad: version, reason } = request
  const { without, kept } = request.hosts
  return {
    without,
    kept,
    bad: version === undefined ? undefined : { version, reason, by, identity },
  }
}

/** Everything a deployment needs, found and checked before anything changes. */
interface Plan extends DeploymentRequest, Content {
  engines: Host[]
  container: ContainerSettings
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

/** What runs in an environment. */
export async function findCurrent(
  app: string,
  environment: string,
  ledger: Ledger,
): Promise<Deployment> {
  const current = await ledger.currentDeployment(app, environment)
  if (current) return current
  throw new StepError('NOT_FOUND', `nothing of ${app} was deployed to ${environment} yet`, {
    hint: `Run \`crosscloud deploy --release ${app}@VERSION --env ${environment}\` first.`,
  })
}

/** A release of the application of crosscloud.yml. */
export async function findOwnRelease(name: string, context: Context): Promise<Release> {
  requireApplication(name, parseRelease(name).app, await context.settings())
  return findRelease(name, await context.ledger())
}

/** Neither gone back to, nor brought to more hosts. */
function isNew({ kind, revision }: DeploymentRequest): boolean {
  return kind === 'deploy' && revision === undefined
}

/** Ids of the approvals that let it in. */
async function approvalsOf(
  request: DeploymentRequest,
  { rendering }: Content,
  who: Who,
  context: Context,
): Promise<string[]> {
  if (request.breakGlass) return []
  if (request.kind === 'rollback' && (await ranThere(request, rendering, context))) return []
  // A host that was left out gets what the others run with already.
  const missing = request.kind === 'deploy' && !isNew(request)
  const configRevision = missing ? undefined : rendering.revision
  return passGate({ ...request, configRevision }, who, context)
}

/** Enough of the past: what is gone back to ran not long ago. */
const RECENT = 200

/** A way back brings what ran there; a config that never did is let in as a deployment is. */
async function ranThere(
  { release: { app, version }, environment: { name, gate }, values }: DeploymentRequest,
  { revision }: { revision: string },
  context: Context,
): Promise<boolean> {
  if (values !== undefined || gate?.config !== 'approve') return true
  const ledger = await context.ledger()
  const query = { app, version, environment: name, state: 'succeeded' as const, limit: RECENT }
  return (await ledger.deployments(query)).some((one) => one.configRevision === revision)
}

async function prepare(
  request: DeploymentRequest,
  content: Content,
  context: Context,
): Promise<Plan> {
  const { release, environment } = request
  const { container } = environment
  const [engines, takenOut] = await Promise.all([
    reachHosts(request, context),
    findTakenOut(release.app, environment, context),
  ])
  for (const { host, state } of takenOut) context.log.warn(`host ${host} ${state}`)
  return { ...request, ...content, engines, container }
}

/** All that are changed answer, and none runs a newer release. */
async function reachHosts(request: DeploymentRequest, context: Context): Promise<Host[]> {
  const { release, environment, hosts, kind, older } = request
  const { name, containerName } = environment
  const answers = await askHosts({ hosts: hosts.change }, context, (host) =>
    host.inspect(containerName),
  )
  const found = answers.filter(isAnswer)
  const silent = answers.filter(isSilent)
  const fault = joinErrors(silent.map((one) => one.fault))
  const names = silent.map((one) => one.name)
  if (fault) throw found.length === 0 ? fault : goPast(fault, names)
  if (kind === 'deploy') {
    const running = found.flatMap(({ value }) => versionOf(value, release.app))
    await refuseOlder({ release, environment: name, older }, running, context)
  }
  return found.map(({ host }) => host)
}

function goPast(fault: StepError, silent: readonly string[]): StepError {
  return new StepError(fault.code, fault.message, {
    hint: `${fault.hint ?? ''} To go past it, \`deploy\` and \`rollback\` take ${silent.map((host) => `\`--without ${host}\``).join(' ')} with \`--reason\`; \`deploy --missing\` catches up later.`.trim(),
    retryable: fault.retryable,
    cause: fault,
  })
}

/** The version of the release that a container of the application was made from. */
function versionOf(container: ContainerInfo | undefined, app: string): string[] {
  const { [containerLabels.application]: of, [containerLabels.version]: version } =
    container?.labels ?? {}
  return of === app && version !== undefined ? [version] : []
}

function startOf(
  { kind, release, environment, hosts, rendering, reason, force }: Plan,
  lock: HeldLock,
  { actor }: Context,
): Omit<DeploymentStart, 'by'> & { lockToken: number } {
  return {
    app: release.app,
    version: release.version,
    environment: environment.name,
    digest: release.digest,
    configRevision: rendering.revision,
    reason: reason || undefined,
    kind,
    lockToken: lock.token,
    jobUrl: actor.jobUrl,
    forced: force,
    hosts: hosts.change.map(({ name, address }) => ({ name, address })),
  }
}

/** The containers are verified one by one, each before the next host is touched. */
function carryOut(
  plan: Plan,
  deployment: Deployment,
  lock: HeldLock,
  context: Context,
): Promise<HostResult[]> {
  return rollOut({
    hosts: plan.engines,
    spec: containerSpec(plan, deployment, lock),
    log: context.log,
    signal: context.signal,
    checkLock: lock.check,
    lockLabel: containerLabels.lock,
    ownerLabels: [containerLabels.application, containerLabels.environment],
    adopt: plan.adopt,
    verify: async (host, container) => {
      const proof = await verifyContainer(host, container, plan.expected, context)
      context.log.info(
        `compared ${filesTold(proof)}; nothing else changed, WAR MD5 ${plan.expected.warMd5}`,
      )
    },
  })
}

function containerSpec(
  { release, environment, rendering, container }: Plan,
  deployment: Deployment,
  lock: HeldLock,
): ContainerSpec {
  return {
    name: environment.containerName,
    image: imageByDigest(environment.image, release.digest),
    settings: container,
    files: rendering.files,
    labels: {
      [containerLabels.application]: release.app,
      [containerLabels.environment]: environment.name,
      [containerLabels.version]: release.version,
      [containerLabels.deployment]: deployment.id,
      [containerLabels.lock]: `${lock.ledger}:${lock.token}`,
      [containerLabels.configRevision]: rendering.revision,
      [containerLabels.configFiles]: configFilesLabel(rendering.files),
    },
  }
}
