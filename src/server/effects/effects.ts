import { StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
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
  http: HttpClient,
): (route: RouteSettings) => Effect | undefined {
  const effects = new Map(
    settings.routes.map((route) => [route.name, createEffect(route, settings, worker, http)]),
  )
  return ({ name }) => effects.get(name)
}

function createEffect(
  route: RouteSettings,
  settings: ServerSettings,
  worker: WorkerEnvironment,
  http: HttpClient,
): Effect | undefined {
  const { gitlab, jenkins } = settings
  if (route.pipeline) {
    const { url, token } = gitlab ?? missing('gitlab')
    return createPipelineEffect(route.pipeline, { http, url, token })
  }
  if (route.workflow) {
    return createWorkflowEffect(route.workflow, hubOf(route.source, settings, http), render)
  }
  if (route.jenkins) {
    const access = { ...(jenkins ?? missing('jenkins')), http }
    return createJenkinsEffect(route.jenkins, access, render)
  }
  if (route.run) return createRunEffect(route.run, worker)
  if (route.gate) return createGateEffect(route.gate, worker)
  if (route.reply)
    return createReplyEffect(route.reply, worker, commenterOf(route.source, settings, http))
  return undefined
}

const render = (template: string, facts: Record<string, string>) => compileTemplate(template)(facts)

function hubOf(source: string, settings: ServerSettings, http: HttpClient): GithubAccess {
  const name = workflowServer(source, settings)
  if (name === 'gitea') return giteaAccess(settings.gitea ?? missing(name), http)
  const { url, token = '' } = settings.github ?? missing(name)
  return { http, url, token }
}

function commenterOf(
  source: string,
  { gitlab, github }: ServerSettings,
  http: HttpClient,
): Commenter {
  if (source === 'gitlab') {
    const { url, token = '' } = gitlab ?? missing('gitlab')
    return (to, signal) => commentOnGitlab({ http, url, token }, to, signal)
  }
  const { url, token = '' } = github ?? missing('github')
  return (to, signal) => commentOnGithub({ http, url, token }, to, signal)
}

/** The schema of the settings rules this out. */
function missing(what: string): never {
  throw new StepError('INPUT_INVALID', `crosscloud.server.yml has no ${what}`)
}
