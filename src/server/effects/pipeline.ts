import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { type GitlabClient, openGitlab } from '../../gitlab/client.ts'
import { call } from '../platforms/http.ts'
import { templateFacts } from '../sources/event.ts'
import { type Attempt, type Effect, eventVariables, type Outcome } from './effect.ts'
import { compileTemplate, templateText } from './templates.ts'

/** `pipeline:` of a route: the GitLab pipeline it starts. */
export const pipelineSettings = z.strictObject({
  project: z
    .string()
    .regex(/^[\w.-]+(?:\/[\w.-]+)+$/, 'is not a project; write group/project')
    .optional()
    .describe("Project of the pipeline; default the event's own"),
  ref: z.string().min(1).optional().describe("Branch or tag it runs on; default the event's own"),
  variables: z
    .record(z.string().regex(/^[A-Za-z_]\w*$/, 'is not the name of a variable'), templateText)
    .default({})
    .describe('Variables it gets, beside CROSSCLOUD_EVENT_…: templates, such as {{commit}}'),
  'trigger-token': z
    .string()
    .min(1)
    .optional()
    .describe("Token of a pipeline trigger; it then runs as that token's owner"),
})

interface GitlabServer {
  http: HttpClient
  url: string
  token: string | undefined
}

/** One pipeline to start. */
interface Start {
  project: string
  ref: string
  variables: Record<string, string>
}

/** Starts a pipeline once for each event, even when the response to an earlier attempt was lost. */
export function createPipelineEffect(
  settings: z.output<typeof pipelineSettings>,
  server: GitlabServer,
): Effect {
  const templates = Object.entries(settings.variables).map(
    ([name, text]) => [name, compileTemplate(text)] as const,
  )
  const trigger = settings['trigger-token']
  return async (attempt) => {
    const { facts, id, signal } = attempt
    const values = mapValues(templateFacts(facts, id), literally)
    const start: Start = {
      project: settings.project ?? facts.project,
      ref: settings.ref ?? facts.ref,
      variables: {
        ...Object.fromEntries(templates.map(([name, render]) => [name, render(values)])),
        ...mapValues(eventVariables(attempt), literally),
      },
    }
    if (start.ref === '') throw hasNoRef(facts.kind)
    const { http, url, token } = server
    const gitlab =
      token === undefined
        ? undefined
        : await openGitlab({ http, url, token, signal, attempts: 1, place: 'server' })
    const known = attempt.again && gitlab ? await findStarted(start, attempt, gitlab) : undefined
    if (known) return startedOutcome(known)
    await attempt.confirm()
    if (trigger !== undefined)
      return startedOutcome(await pullTrigger(start, server, trigger, signal))
    if (gitlab === undefined) throw new StepError('INPUT_INVALID', 'gitlab.token is not set')
    return startedOutcome(await create(start, gitlab))
  }
}

/**
 * GitLab expands variables in the values of variables: a branch named `$TOKEN` would reveal it.
 * https://docs.gitlab.com/ci/variables/#use-variables-in-other-variables
 */
const literally = (text: string): string => text.replaceAll('$', '$$$$')

const mapValues = (texts: Readonly<Record<string, string>>, change: (text: string) => string) =>
  Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, change(text)]))

interface Pipeline {
  id: number
  web_url?: string
}

const startedOutcome = ({ id, web_url: url }: Pipeline): Outcome => ({
  text: `pipeline ${id} was started`,
  url,
  state: 'started',
})

async function create({ project, ref, variables }: Start, { api, ask }: GitlabClient) {
  const list = Object.entries(variables).map(([key, value]) => ({ key, value }))
  const made = await ask(`starting a pipeline of ${project} on ${ref}`, () =>
    api.Pipelines.create(project, ref, { variables: list }),
  )
  return startedPipeline(made, project)
}

/** A page of a proxy, or about maintenance, also has status 200: then nothing was started. */
function startedPipeline(made: unknown, project: string): Pipeline {
  const { id, web_url } = (made ?? {}) as Partial<Pipeline>
  if (typeof id === 'number') return { id, ...(typeof web_url === 'string' && { web_url }) }
  throw noGitlab(`starting a pipeline of ${project}`)
}

function noGitlab(what: string): StepError {
  return new StepError('UNAVAILABLE', `${what}: the answer is not one of GitLab`, {
    hint: 'Check gitlab.url, and what stands between: a proxy, a login, a page about maintenance.',
  })
}

/** gitbeaker would write the token into the URL, and so into the log of every proxy. */
async function pullTrigger(
  { project, ref, variables }: Start,
  { http, url }: GitlabServer,
  token: string,
  signal: AbortSignal,
): Promise<Pipeline> {
  const response = await call({
    http,
    what: `starting a pipeline of ${project} on ${ref}`,
    server: 'GitLab',
    signal,
    url: `${url.replace(/\/$/, '')}/api/v4/projects/${encodeURIComponent(project)}/trigger/pipeline`,
    method: 'POST',
    json: { token, ref, variables },
  })
  return startedPipeline(response.json(), project)
}

/** Clocks differ; and the list is sorted by id anyway. */
const SLACK = 10 * 60_000
const PAGE = 100
const MOST_PAGES = 5

/** The pipeline that an earlier attempt started for this event: it carries the event's id. */
async function findStarted(
  { project, ref }: Start,
  { id, begunAt }: Attempt,
  { api, ask }: GitlabClient,
): Promise<Pipeline | undefined> {
  const updatedAfter = new Date(begunAt - SLACK).toISOString()
  const query = { ref, updatedAfter, orderBy: 'id', sort: 'desc', perPage: PAGE } as const
  const what = `looking for the pipeline of event ${id} in ${project}`
  for (let page = 1; page <= MOST_PAGES; page++) {
    const some = (await ask(what, () =>
      api.Pipelines.all(project, { ...query, page, maxPages: 1 } as never),
    )) as unknown as Pipeline[]
    if (!Array.isArray(some)) throw noGitlab(what)
    for (const pipeline of some) {
      const variables = await ask(what, () => api.Pipelines.allVariables(project, pipeline.id))
      if (!Array.isArray(variables)) throw noGitlab(what)
      const mark = variables.find(({ key }) => key === 'CROSSCLOUD_EVENT_ID')
      if (mark?.value === id) return pipeline
    }
    if (some.length < PAGE) return undefined
  }
  return undefined
}

function hasNoRef(kind: string): StepError {
  return new StepError('INPUT_INVALID', `an event of kind ${kind} has no branch to start on`, {
    hint: 'Set pipeline.ref in this route.',
  })
}
