import type { Who } from '../../identity/who.ts'
import type { Context } from '../context.ts'
import { type DeploymentRequest, isNew } from '../deployment/request.ts'
import { type CountedApproval, openGate, requireVerifiedUpstream } from './gate.ts'

/** A new release must have run in the environment before. */
export async function requireOrder(request: DeploymentRequest, context: Context): Promise<void> {
  if (!isNew(request) || request.breakGlass) return
  await requireVerifiedUpstream(request.release, request.environment, context)
}

/**
 * The approvals that admit the deployment; GATE_CLOSED with all that is missing. A plan whose config
 * cannot be rendered has no revision: it asks for approvals of the image.
 */
export async function admit(
  request: DeploymentRequest,
  rendering: { revision: string } | undefined,
  who: Who,
  context: Context,
): Promise<CountedApproval[]> {
  if (request.breakGlass) return []
  const revision = rendering?.revision
  if (request.kind === 'rollback' && (await ranThere(request, revision, context))) return []
  // A host that was left out gets what the others run with already.
  const isMissing = request.kind === 'deploy' && !isNew(request)
  const configRevision = isMissing ? undefined : revision
  return openGate({ ...request, configRevision }, who, context)
}

/** Deployments of a release that are searched for a config revision. */
const RECENT = 200

/** A rollback restores what ran there; a config that never ran there is admitted as a deployment is. */
async function ranThere(
  { release: { app, version }, environment: { name, gate }, values }: DeploymentRequest,
  revision: string | undefined,
  context: Context,
): Promise<boolean> {
  if (values !== undefined || gate?.config !== 'approve') return true
  const ledger = await context.ledger()
  const query = { app, version, environment: name, state: 'succeeded' as const, limit: RECENT }
  return (await ledger.deployments(query)).some((past) => past.configRevision === revision)
}
