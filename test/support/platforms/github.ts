import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import type { Push } from './delivery-gitlab.ts'

export const GITHUB_TOKEN = 'ghp_a-very-secret-token'

interface Run {
  id: number
  name: string
  display_title: string
  event: string
  created_at: string
  html_url: string
  ref: string
  inputs: Record<string, string>
}

interface Workflow {
  /** Inputs it declares. */
  inputs: string[]
  /** Its run-name; `%` stands for the event's id. */
  runName?: string
}

/** A GitHub that remembers, in memory: workflows, statuses and comments of one repository. */
export interface TestGithub {
  url: string
  runs: Run[]
  statuses: { sha: string; body: Record<string, string> }[]
  comments: { id: number; issue: number; body: string }[]
  /** What was pushed, oldest first. */
  activity: Push[]
  /** `POST /repos/…`, as they came, encoded and with the query. */
  requests: string[]
  headers: IncomingMessage['headers'][]
  /** The next requests get these responses; `cut` does what was asked and drops the connection. */
  next: (number | 'pass' | 'cut' | 'limited' | 'page')[]
  /** How new it is: whether it tells of the run it starts, or refuses to be asked for that. */
  details: 'told' | 'unknown' | 'refused'
  /** New runs get into the list only after so many looks. */
  lag: number
  pageSize: number
}

export interface GithubOptions {
  repository?: string
  workflows?: Record<string, Workflow>
  refs?: string[]
}

export async function startGithub(
  t: Pick<Test, 'teardown'>,
  options: GithubOptions = {},
): Promise<TestGithub> {
  const { repository = 'acme/webapi', workflows = {}, refs = ['main'] } = options
  const github: TestGithub = {
    url: '',
    runs: [],
    statuses: [],
    comments: [],
    activity: [],
    requests: [],
    headers: [],
    next: [],
    details: 'told',
    lag: 0,
    pageSize: 100,
  }
  const known = { repository, workflows, refs }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', github.url)
    github.requests.push(`${request.method} ${request.url}`)
    github.headers.push(request.headers)
    const body = await text(request)
    const order = github.next.shift()
    const respond = (status: number, value?: unknown) => {
      if (order === 'cut') return response.destroy()
      const limited = order === 'limited' ? { 'x-ratelimit-remaining': '0' } : {}
      response.writeHead(status, { 'content-type': 'application/json', ...limited })
      return response.end(value === undefined ? undefined : JSON.stringify(value))
    }
    if (order === 'page') return response.end('<html>We are back soon.</html>')
    if (order === 'limited') return respond(403, { message: 'API rate limit exceeded for user' })
    if (typeof order === 'number') return respond(order, { message: `${order} it is` })
    if (request.headers.authorization !== `Bearer ${GITHUB_TOKEN}`) {
      return respond(401, { message: 'Bad credentials', status: '401' })
    }
    const path = url.pathname.split('/').slice(1).map(decodeURIComponent)
    if (path[0] !== 'repos') return respond(404, { message: 'Not Found' })
    if (`${path[1]}/${path[2]}` === 'acme/renamed') {
      response.setHeader('location', `${github.url}/repositories/7/`)
      return respond(307, { message: 'Moved Permanently' })
    }
    if (`${path[1]}/${path[2]}` !== known.repository) return respond(404, { message: 'Not Found' })
    const ask = { method: request.method ?? 'GET', path: path.slice(3), query: url.searchParams }
    if (path[3] === 'activity') {
      const [pushes, next] = listActivity(github, url.searchParams)
      if (next) response.setHeader('link', `<${github.url}/x?after=${next}>; rel="next"`)
      return respond(200, pushes)
    }
    const [status, value] = handle(github, known, {
      ...ask,
      body: body === '' ? {} : (JSON.parse(body) as Record<string, unknown>),
    })
    return respond(status, value)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  github.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return github
}

interface Asked {
  method: string
  path: string[]
  query: URLSearchParams
  body: Record<string, unknown>
}

type Known = Required<GithubOptions>

function handle(github: TestGithub, known: Known, asked: Asked): [number, unknown?] {
  const { method, path, body } = asked
  const [room, first, second, third] = path
  const what = `${method} ${room}`
  if (room === 'actions' && first === 'workflows') {
    const workflow = known.workflows[second ?? '']
    if (!workflow) return [404, { message: 'Not Found' }]
    if (method === 'POST' && third === 'dispatches') {
      return dispatch(github, known.refs, workflow, second ?? '', body)
    }
    if (method === 'GET' && third === 'runs') return listRuns(github, second ?? '', asked.query)
  }
  if (what === 'POST statuses') {
    if (String(body.description).length > 140) {
      return [422, { message: 'Validation Failed: description is too long' }]
    }
    if (!['error', 'failure', 'pending', 'success'].includes(String(body.state))) {
      return [422, { message: 'Validation Failed: state' }]
    }
    github.statuses.push({ sha: first ?? '', body: body as Record<string, string> })
    return [201, { id: 1 }]
  }
  if (what === 'GET commits') {
    const html_url = `https://github.example.com/${known.repository}/commit/${first}`
    return [200, { sha: first, commit: { message: `title of ${first}\n\nmore` }, html_url }]
  }
  if (room === 'issues') return comment(github, asked)
  return [404, { message: 'Not Found' }]
}

const NO_COMMIT = '0'.repeat(40)

/** A page, newest first, and where the next one begins. */
function listActivity({ activity, pageSize }: TestGithub, query: URLSearchParams) {
  const all = activity.map(({ branch, before, after, age }, index) => ({
    id: index + 1,
    ref: `refs/heads/${branch}`,
    actor: { login: 'li' },
    before: before ?? NO_COMMIT,
    after: after ?? NO_COMMIT,
    activity_type: 'push',
    timestamp: new Date(Date.now() - age).toISOString().replace(/\.\d+/, ''),
  }))
  const start = Number(query.get('after') ?? 0)
  const end = start + pageSize
  return [all.reverse().slice(start, end), end < all.length ? end : undefined] as const
}

function dispatch(
  github: TestGithub,
  refs: string[],
  workflow: Workflow,
  file: string,
  body: Record<string, unknown>,
): [number, unknown?] {
  const details = body.return_run_details
  if (details !== undefined && github.details === 'refused') {
    const message = 'Invalid request.\n\n"return_run_details" is not a permitted key.'
    return [422, { message, status: '422' }]
  }
  const ref = String(body.ref)
  if (!refs.includes(ref)) return [422, { message: `No ref found for: ${ref}`, status: '422' }]
  const inputs = (body.inputs ?? {}) as Record<string, string>
  const unexpected = Object.keys(inputs).filter((name) => !workflow.inputs.includes(name))
  if (unexpected.length > 0) {
    return [422, { message: `Unexpected inputs provided: ${JSON.stringify(unexpected)}` }]
  }
  const id = 1000 + github.runs.length
  const html_url = `https://github.example.com/acme/webapi/actions/runs/${id}`
  const title = workflow.runName?.replace('%', inputs.crosscloud_event_id ?? '') ?? file
  github.runs.push({
    id,
    name: file,
    display_title: title,
    event: 'workflow_dispatch',
    html_url,
    ref,
    inputs,
    created_at: new Date().toISOString(),
  })
  const started = { workflow_run_id: id, run_url: `https://api.example.com/runs/${id}`, html_url }
  return details && github.details === 'told' ? [200, started] : [204]
}

function listRuns(github: TestGithub, file: string, query: URLSearchParams): [number, unknown] {
  const since = Date.parse(/^>=(.+)$/.exec(query.get('created') ?? '')?.[1] ?? '')
  if (Number.isNaN(since)) return [422, { message: 'created' }]
  const hidden = github.lag > 0
  github.lag = Math.max(github.lag - 1, 0)
  const all = github.runs
    .filter((run) => run.name === file && run.event === query.get('event'))
    .filter((run) => Date.parse(run.created_at) >= since && !hidden)
    .reverse()
  const size = Math.min(Number(query.get('per_page') ?? 30), github.pageSize)
  const start = (Number(query.get('page') ?? 1) - 1) * size
  return [200, { total_count: all.length, workflow_runs: all.slice(start, start + size) }]
}

function comment(github: TestGithub, { method, path, query, body }: Asked): [number, unknown?] {
  const [, first, second] = path
  const text = String(body.body)
  if (method === 'PATCH' && first === 'comments') {
    const known = github.comments.find(({ id }) => String(id) === second)
    if (!known) return [404, { message: 'Not Found' }]
    known.body = text
    return [200, known]
  }
  if (second !== 'comments') return [404, { message: 'Not Found' }]
  if (method === 'POST') {
    const made = { id: github.comments.length + 1, issue: Number(first), body: text }
    github.comments.push(made)
    return [201, made]
  }
  const all = github.comments.filter(({ issue }) => issue === Number(first))
  const size = Math.min(Number(query.get('per_page') ?? 30), 100)
  const start = (Number(query.get('page') ?? 1) - 1) * size
  return [200, all.slice(start, start + size)]
}
