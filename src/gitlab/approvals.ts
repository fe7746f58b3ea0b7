import type { GitlabAccess } from './access.ts'
import { openGitlab } from './client.ts'

/** One person's approval or rejection of a deployment job. */
export interface PlatformApproval {
  by: string
  byId: string | undefined
  decision: 'approved' | 'rejected'
  reason: string | undefined
  /** ISO 8601, UTC. */
  at: string
}

interface Deployment {
  id: number
  deployable?: { id?: number } | null
  approvals?: {
    user?: { id?: number; username?: string }
    status?: string
    created_at?: string
    comment?: string | null
  }[]
}

/** Newest first; a job's deployment is among the newest when it runs. */
const NEWEST = 100

/**
 * The approvals of a job's deployment (https://docs.gitlab.com/ci/environments/deployment_approvals/),
 * with Premium; none without.
 */
export async function readApprovals(
  access: GitlabAccess,
  { project, environment, jobId }: { project: string; environment: string; jobId: string },
): Promise<PlatformApproval[]> {
  const { api, ask } = await openGitlab(access)
  const query = { environment, orderBy: 'id', sort: 'desc', perPage: NEWEST, maxPages: 1 } as const
  const all = await ask(`reading the deployments of ${project} to ${environment}`, () =>
    api.Deployments.all(project, query as never),
  )
  const found = (all as unknown as Deployment[]).find(
    ({ deployable }) => String(deployable?.id) === jobId,
  )
  if (!found) return []
  const whole = await ask(`reading deployment ${found.id} of ${project}`, () =>
    api.Deployments.show(project, found.id),
  )
  return ((whole as unknown as Deployment).approvals ?? []).flatMap(
    ({ user, status, created_at, comment }) => {
      const known = status === 'approved' || status === 'rejected'
      if (!known || !user?.username || created_at === undefined) return []
      const at = new Date(created_at).toISOString()
      const byId = user.id === undefined ? undefined : String(user.id)
      return [{ by: user.username, byId, decision: status, reason: comment || undefined, at }]
    },
  )
}
