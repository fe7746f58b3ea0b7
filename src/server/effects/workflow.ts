import { z } from 'zod'
import { isStepError, StepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { callGithub, type GithubAccess, repositoryPath } from '../platforms/github.ts'
import type { CallResponse } from '../platforms/http.ts'
import { type EventFacts, templateFacts } from '../sources/event.ts'
import type { Attempt, Effect, Outcome } from './effect.ts'
import { templateText } from './templates.ts'

const MARK = 'crosscloud_event_id'

/** `workflow:` of a route: the GitHub workflow it dispatches. */
export const workflowSettings = z.strictObject({
  repository: z
    .string()
    .regex(/^[\w.-]+\/[\w.-]+$/, 'is not a repository; write owner/name')
    .optional()
    .describe("Repository of the workflow; default the event's own"),
  workflow: z
    .union([
      z.string().regex(/^[\w-][\w .-]*$/, 'is not the name of a workflow file, such as ci.yml'),
      z.int().positive(),
    ])
    .describe('File name of the workflow, such as deploy.yml, or its id'),
  ref: z.string().min(1).optional().describe("Branch or tag it runs on; default the event's own"),
  inputs: z
    .record(z.string().regex(/^[A-Za-z_][\w-]*$/, 'is not the name of an input'), templateText)
    .default({})
    .describe('Inputs it gets, which it must declare: templates, such as {{commit}}'),
  mark: z
    .boolean()
    .default(true)
    .describe(
      `Whether it gets the input ${MARK}. It must declare that, and should have it in its run-name: run-name: Deploy \${{ inputs.${MARK} }}. Without, an attempt whose response was lost may start a second run`,
    ),
})

export interface WorkflowOptions {
  /** Pause before looking a second time for what an earlier attempt started; milliseconds. */
  pause?: number
}

/** One workflow run to start. */
interface Start {
  /** For messages: `deploy.yml of acme/webapi`. */
  name: string
  path: string[]
  repository: string[]
  ref: string
  inputs: Record<string, string>
}

/** Dispatches a workflow once for each event, even when the response to an earlier attempt was lost. */
export function createWorkflowEffect(
  settings: z.output<typeof workflowSettings>,
  access: GithubAccess,
  render: (template: string, facts: Record<string, string>) => string,
  { pause = 3000 }: WorkflowOptions = {},
): Effect {
  return async (attempt) => {
    const { facts, id, signal } = attempt
    const values = templateFacts(facts, id)
    const project = settings.repository ?? facts.project
    const repository = repositoryPath(project)
    const workflow = String(settings.workflow)
    const start: Start = {
      name: `${workflow} of ${project}`,
      path: [...repository, 'actions', 'workflows', workflow],
      repository: [...repository, 'actions'],
      ref: settings.ref ?? refOf(facts),
      inputs: {
        ...Object.fromEntries(
          Object.entries(settings.inputs).map(([name, text]) => [name, render(text, values)]),
        ),
        ...(settings.mark && { [MARK]: id }),
      },
    }
    if (attempt.again && settings.mark) {
      const known = await findTwice(start, attempt, access, pause)
      if (known) return startedOutcome(start, known.id, known.html_url)
    }
    await attempt.confirm()
    return dispatch(start, access, signal)
  }
}

/** Gitea takes a bare name for a branch, so a tag is named in full; GitHub accepts both. */
function refOf({ kind, ref }: EventFacts): string {
  if (ref !== '') return kind === 'tag' ? `refs/tags/${ref}` : ref
  throw new StepError('INPUT_INVALID', `an event of kind ${kind} has no branch to start on`, {
    hint: 'Set workflow.ref in this route.',
  })
}

const startedOutcome = ({ name }: Start, run?: unknown, url?: unknown): Outcome => ({
  text: typeof run === 'number' ? `run ${run} of ${name} was started` : `${name} was dispatched`,
  url: typeof url === 'string' && /^https?:\/\//i.test(url) ? url : undefined,
  state: 'started',
})

/**
 * https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event. Since 2026 it
 * returns the run it started, when asked to: GitHub reads that from the body, Gitea from the query.
 */
async function dispatch(start: Start, access: GithubAccess, signal: AbortSignal): Promise<Outcome> {
  const { path, ref, inputs } = start
  const send = (details: boolean) =>
    callGithub(access, {
      what: `dispatching ${start.name} on ${ref}`,
      path: [...path, 'dispatches'],
      ...(details && { query: { return_run_details: 'true' } }),
      method: 'POST',
      json: { ref, inputs, ...(details && { return_run_details: true }) },
      allow: [422],
      signal,
    })
  let response = await send(true)
  // An older GitHub Enterprise does not know the field, and has started nothing.
  if (response.status === 422 && /return_run_details/.test(response.text))
    response = await send(false)
  if (response.status === 422) throw refused(start, access, response)
  const run = response.json() as Record<string, unknown> | undefined
  // A page of a proxy, or of a login, comes with 200 as well: then nothing was dispatched.
  if (response.status !== 204 && (typeof run !== 'object' || run === null)) {
    const what = `dispatching ${start.name} on ${ref}: the answer (${response.status})`
    const { server = 'GitHub' } = access
    throw new StepError('UNAVAILABLE', `${what} is not one of ${server}`, {
      hint: `Check ${server.toLowerCase()}.url, and what stands between: a proxy, a login, a page about maintenance.`,
    })
  }
  return startedOutcome(start, run?.workflow_run_id, run?.html_url)
}

function refused(
  { name, ref, inputs }: Start,
  { server = 'GitHub' }: GithubAccess,
  response: CallResponse,
): StepError {
  const { message } = (response.json() ?? {}) as { message?: unknown }
  const why = (typeof message === 'string' ? message : response.text).slice(0, 300)
  const marked = MARK in inputs ? `, ${MARK} as well (or set mark: false)` : ''
  return new StepError(
    'INPUT_INVALID',
    `dispatching ${name} on ${ref}: ${server} answers 422: ${why}`,
    {
      hint: `There must be such a branch or tag, and the workflow there must have "on: workflow_dispatch" and declare each input it is sent${marked}.`,
    },
  )
}

interface Run {
  id: number
  name?: string | null
  display_title?: string | null
  html_url?: string
}

/** Clocks differ. */
const SLACK = 10 * 60_000
const PAGE = 100
/** GitHub filters at most 1000 runs. */
const MOST_PAGES = 10

/** A run is in the list only some seconds after it was asked for. */
async function findTwice(
  start: Start,
  attempt: Attempt,
  access: GithubAccess,
  pause: number,
): Promise<Run | undefined> {
  const found = await findStarted(start, attempt, access)
  if (found) return found
  await wait(pause, attempt.signal)
  return findStarted(start, attempt, access)
}

async function findStarted(
  { path, repository, name }: Start,
  { id, begunAt, signal }: Attempt,
  access: GithubAccess,
): Promise<Run | undefined> {
  const since = new Date(begunAt - SLACK).toISOString().replace(/\.\d+/, '')
  const query = { event: 'workflow_dispatch', created: `>=${since}`, per_page: String(PAGE) }
  const what = `looking for the run of event ${id} of ${name}`
  const ask = (of: string[], page: number) =>
    callGithub(access, {
      what,
      path: [...of, 'runs'],
      query: { ...query, page: `${page}` },
      signal,
    })
  let seen = 0
  for (let page = 1; page <= MOST_PAGES; page++) {
    // Older Gitea has only the list of all workflows' runs.
    const response = await ask(path, page).catch((error: unknown) => {
      if (isStepError(error, 'NOT_FOUND')) return ask(repository, page)
      throw error
    })
    const list = (response.json() ?? {}) as { total_count?: number; workflow_runs?: Run[] }
    const runs = Array.isArray(list.workflow_runs) ? list.workflow_runs : []
    const found = runs.find((run) => [run.name, run.display_title].some((text) => names(text, id)))
    if (found) return found
    seen += runs.length
    if (runs.length === 0 || seen >= (list.total_count ?? 0)) return undefined
  }
  return undefined
}

/** Whether the text contains this id, and not only a longer id around it. */
function names(text: string | null | undefined, id: string): boolean {
  const parts = (text ?? '').split(id)
  return parts.slice(1).some((after, index) => {
    return !/[\w-]$/.test(parts[index] ?? '') && !/^[\w-]/.test(after)
  })
}
