import { StepError } from '../../core/errors.ts'
import { commentOnGithub } from '../feedback/github.ts'
import { commentOnGitlab } from '../feedback/gitlab.ts'
import { giteaAccess } from '../platforms/gitea.ts'
import type { GithubAccess } from '../platforms/github.ts'
import { workflowServer } from '../settings/consistency.ts'
import type { RouteSettings } from '../settings/route.ts'
import type { ServerSettings } from '../settings/settings.ts'
import type { Effect } from './effect.ts'
import { createGateEffect } from './gate.ts'
import { createJenkinsEffect } from './jenkins.ts'
import { createPipelineEffect } from './pipeline.ts'
import { type Commenter, createReplyEffect } from './reply.ts'
import { createRunEffect } from './run.ts'
import { compileTemplate } from './templates.ts'
import type { WorkerEnvironment } from './worker-environment.ts'
import { createWorkflowEffect } from './workflow.ts'

/** The effect of each route; undefined for a route that only sends notifications. */
export function createEffects(
  settings: ServerSettings,
  worker: WorkerEnvironment,
): (route: RouteSettings) => Effect | undefined {
  const effects = new Map(
    settings.routes.map((route) => [route.name, createEffect(route, settings, worker)]),
  )
  return ({ name }) => effects.get(name)
}

function createEffect(
  route: RouteSettings,
  settings: ServerSettings,
  worker: WorkerEnvironment,
): Effect | undefined {
  const { gitlab, jenkins } = settings
  if (route.pipeline) {
    const { url, token } = gitlab ?? missing('gitlab')
    return createPipelineEffect(route.pipeline, { url, token })
  }
  if (route.workflow) {
    return createWorkflowEffect(route.workflow, hubOf(route.source, settings), render)
  }
  if (route.jenkins)
    return createJenkinsEffect(route.jenkins, jenkins ?? missing('jenkins'), render)
  if (route.run) return createRunEffect(route.run, worker)
  if (route.gate) return createGateEffect(route.gate, worker)
  if (route.reply)
    return createReplyEffect(route.reply, worker, commenterOf(route.source, settings))
  return undefined
}

const render = (template: string, facts: Record<string, string>) => compileTemplate(template)(facts)

function hubOf(source: string, settings: ServerSettings): GithubAccess {
  const name = workflowServer(source, settings)
  if (name === 'gitea') return giteaAccess(settings.gitea ?? missing(name))
  const { url, token = '' } = settings.github ?? missing(name)
  return { url, token }
}

function commenterOf(source: string, { gitlab, github }: ServerSettings): Commenter {
  if (source === 'gitlab') {
    const { url, token = '' } = gitlab ?? missing('gitlab')
    return (to, signal) => commentOnGitlab({ url, token }, to, signal)
  }
  const { url, token = '' } = github ?? missing('github')
  return (to, signal) => commentOnGithub({ url, token }, to, signal)
}

/** The schema of the settings rules this out. */
function missing(what: string): never {
  throw new StepError('INPUT_INVALID', `crosscloud.server.yml has no ${what}`)
}
