import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

export interface StartedPipeline {
  id: number
  project: string
  ref: string
  variables: Record<string, string>
}

/** A GitLab that starts pipelines, in memory: what `crosscloud serve` asks of one. */
export interface DeliveryGitlab {
  url: string
  /** In the order in which they were started. */
  pipelines: StartedPipeline[]
  /** Commit statuses as they were set: `STATE NAME URL`. */
  statuses: { project: string; commit: string; state: string; name: string; url: string }[]
  notes: { project: string; number: number; body: string }[]
  hooks: { id: number; url: string; alert_status: string }[]
  /** What was pushed, to any project, oldest first. */
  pushes: Push[]
  /** Commits that are gone. */
  gone: Set<string>
  /** What stands below the first line of a commit's message. */
  bodies: Map<string, string>
  /** Requests, `GET team/webapi events`, as they came. */
  requests: string[]
  /** While it is down every connection is cut. */
  down: boolean
  /** During maintenance, a proxy in front of it responds to everything with a page. */
  mended: boolean
  /** How the next requests that change something end: a status, or `lost` when it was done. */
  faults: (number | 'lost')[]
  /** Milliseconds before a response. */
  delay: () => number
  /** What happens while it is asked this, before it responds. */
  meanwhile: (request: string) => Promise<unknown>
}

export interface Push {
  branch: string
  before: string | null
  after: string | null
  /** Milliseconds ago. */
  age: number
  tag?: boolean
  /** Default team/webapi. */
  project?: string
}

export const DELIVERY_TOKEN = 'glpat-delivery-token-of-the-test'

export async function startDeliveryGitlab(t: Pick<Test, 'teardown'>): Promise<DeliveryGitlab> {
  const gitlab: DeliveryGitlab = {
    url: '',
    pipelines: [],
    statuses: [],
    notes: [],
    down: false,
    mended: false,
    faults: [],
    hooks: [],
    pushes: [],
    gone: new Set(),
    bodies: new Map(),
    requests: [],
    delay: () => 0,
    meanwhile: async () => {},
  }
  const server = createServer((request, response) => {
    serve(gitlab, request, response).catch(() => request.socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  gitlab.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return gitlab
}

async function serve(gitlab: DeliveryGitlab, request: IncomingMessage, response: ServerResponse) {
  if (gitlab.down) return void request.socket.destroy()
  if (gitlab.mended) return void response.end('<html>We are back soon.</html>')
  const respond = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  const body = await readBody(request)
  await sleep(gitlab.delay())
  const url = new URL(request.url ?? '/', 'http://gitlab')
  const parts = url.pathname.split('/').slice(3).map(decodeURIComponent)
  const trigger = parts[2] === 'trigger'
  const token = trigger ? body.token : request.headers['private-token']
  if (token !== DELIVERY_TOKEN) return respond(401, { message: '401 Unauthorized' })
  const fault = request.method === 'GET' ? undefined : gitlab.faults.shift()
  if (typeof fault === 'number') return respond(fault, { message: `${fault} no` })
  const asked = [request.method, ...parts.slice(1)].join(' ')
  gitlab.requests.push(asked)
  await gitlab.meanwhile(asked)
  const done = carryOut(gitlab, request.method ?? 'GET', parts, url, body)
  if (fault === 'lost') return void request.socket.destroy()
  return respond(...done)
}

type Body = Record<string, unknown>

function carryOut(
  gitlab: DeliveryGitlab,
  method: string,
  [, project = '', what = '', key = '', more = '', last = '']: string[],
  url: URL,
  body: Body,
): [number, unknown] {
  if (method === 'POST' && (what === 'pipeline' || what === 'trigger')) {
    if (body.ref === 'absent') return [400, { message: { base: ['Reference not found'] } }]
    const pipeline = start(gitlab, project, String(body.ref), variablesOf(body.variables))
    return [201, view(gitlab, pipeline)]
  }
  if (what === 'pipelines' && more === 'variables') {
    const found = gitlab.pipelines.find(({ id }) => String(id) === key)
    const all = Object.entries(found?.variables ?? {})
    return found ? [200, all.map(([name, value]) => ({ key: name, value }))] : [404, {}]
  }
  if (what === 'pipelines') {
    const ref = url.searchParams.get('ref')
    const perPage = Number(url.searchParams.get('per_page') ?? 20)
    const page = Number(url.searchParams.get('page') ?? 1)
    const found = gitlab.pipelines.filter(
      (pipeline) => pipeline.project === project && pipeline.ref === ref,
    )
    const some = found.toReversed().slice((page - 1) * perPage, page * perPage)
    return [200, some.map((pipeline) => view(gitlab, pipeline))]
  }
  if (what === 'events') return [200, listPushes(gitlab, project, url.searchParams)]
  if (what === 'repository' && key === 'commits') {
    if (gitlab.gone.has(more)) return [404, { message: '404 Commit Not Found' }]
    // Of a tag object GitLab returns the commit.
    const id = more.replace(/^f{8}/, '0'.repeat(8))
    const title = `title of ${id}`
    const message = `${title}\n\n${gitlab.bodies.get(id) ?? ''}`
    return [200, { id, title, message, web_url: `${gitlab.url}/${project}/-/commit/${id}` }]
  }
  if (what === 'hooks' && more === 'test' && last !== '') {
    const hook = gitlab.hooks.find(({ id }) => String(id) === key)
    if (hook) hook.alert_status = 'executable'
    return hook ? [201, { message: '201 Created' }] : [404, { message: '404 Not found' }]
  }
  if (what === 'hooks') return [200, gitlab.hooks]
  if (what === 'statuses') {
    const { state, name, target_url } = body as Record<string, string>
    gitlab.statuses.push({
      project,
      commit: key,
      state: state ?? '',
      name: name ?? '',
      url: target_url ?? '',
    })
    return [201, { id: gitlab.statuses.length, status: state }]
  }
  if (what === 'merge_requests' && more === 'notes') {
    const number = Number(key)
    if (method === 'GET') return [200, gitlab.notes.filter((note) => note.number === number)]
    gitlab.notes.push({ project, number, body: String(body.body) })
    return [201, { id: gitlab.notes.length, body: body.body }]
  }
  return [404, { message: '404 Not Found' }]
}

function listPushes({ pushes }: DeliveryGitlab, asked: string, query: URLSearchParams) {
  const perPage = Number(query.get('per_page') ?? 20)
  const page = Number(query.get('page') ?? 1)
  const all = pushes.map(({ branch, before, after, age, tag, project = 'team/webapi' }, index) => ({
    project,
    id: index + 1,
    action_name: 'pushed to',
    author_username: 'li',
    created_at: new Date(Date.now() - age).toISOString(),
    push_data: {
      ref: branch,
      ref_type: tag ? 'tag' : 'branch',
      commit_from: before,
      commit_to: after,
      action: after === null ? 'removed' : 'pushed',
      commit_count: 1,
    },
  }))
  const found = all.filter(({ project }) => project === asked).reverse()
  return found.slice((page - 1) * perPage, page * perPage)
}

function start(
  { pipelines }: DeliveryGitlab,
  project: string,
  ref: string,
  variables: Record<string, string>,
): StartedPipeline {
  const pipeline = { id: pipelines.length + 1, project, ref, variables }
  pipelines.push(pipeline)
  return pipeline
}

function view(gitlab: DeliveryGitlab, { id, project, ref }: StartedPipeline) {
  return { id, ref, status: 'created', web_url: `${gitlab.url}/${project}/-/pipelines/${id}` }
}

/** Pipelines get a list, triggers an object. */
function variablesOf(given: unknown): Record<string, string> {
  if (!Array.isArray(given)) return (given ?? {}) as Record<string, string>
  return Object.fromEntries(given.map(({ key, value }) => [String(key), String(value)]))
}

async function readBody(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  return text === '' ? {} : (JSON.parse(text) as Body)
}
