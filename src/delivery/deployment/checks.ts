import type { Who } from '../../identity/who.ts'
import { withHosts } from '../../settings.ts'
import type { Target } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { admit, requireOrder } from '../gate/admission.ts'
import { identifyActor } from '../gate/break-glass.ts'
import type { CountedApproval } from '../gate/gate.ts'
import type { Attempt } from './attempt.ts'
import { type Content, readContent } from './content.ts'
import { refuseBad } from './known-bad.ts'
import { refuseCrossing } from './migrations.ts'
import type { DeploymentRequest } from './request.ts'
import { checkHosts } from './rollout.ts'

const throwFirst: Attempt = (_check, work) => work()

/** What is known when nothing stands in the way. */
interface Admitted {
  who: Who
  target: Target
  content: Content
  /** The approvals that opened the gate. */
  approvals: CountedApproval[]
}

/** The same where something may. */
interface Checked {
  who: Who | undefined
  target: Target
  content: Content | undefined
  approvals: CountedApproval[] | undefined
}

/** Every check before anything is changed, for a deployment: the first problem is thrown. */
export async function requireAdmitted(
  request: DeploymentRequest,
  context: Context,
): Promise<Admitted> {
  // No check is left without its result: it would have thrown.
  return (await checkAll(request, context, throwFirst)) as Admitted
}

/**
 * Every check that a deployment makes before anything is changed, but for its lock. It only reads.
 * `read` gives what will run, where that is not in the environment's repository yet.
 */
export async function checkAll(
  request: DeploymentRequest,
  context: Context,
  attempt: Attempt,
  read: typeof readContent = readContent,
): Promise<Checked> {
  const who = await attempt('identity', () => identifyActor(request, context))
  await attempt('mark', async () => refuseBad(request, await context.ledger()))
  await attempt('migration', () => refuseCrossing(request, context))
  await attempt('order', () => requireOrder(request, context))
  const target = await context.target(withHosts(request.environment, request.hosts.change))
  // The hosts respond while the registry is read.
  const running = target.instances({ roles: ['current'] })
  running.catch(() => {})
  const content = await read(request, context, attempt)
  if (content) await attempt('files', async () => target.checkFiles(content.rendering.files))
  const approvals = await attempt('gate', async () =>
    admit(request, content?.rendering, who ?? stranger(context), context),
  )
  await checkHosts(request, running, context, attempt)
  return { who, target, content, approvals }
}

/** In a plan, whoever could not be identified: the other checks are made all the same. */
function stranger({ actor }: Context): Who {
  return { login: actor.by, groups: [], identity: 'unverified' }
}
