import { randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

export const JENKINS_USER = 'robot'
export const JENKINS_TOKEN = '11a-very-secret-token'

interface Job {
  /** Undefined: the job is not parameterized. */
  parameters?: string[]
  disabled?: boolean
  folder?: boolean
}

interface Item {
  id: number
  job: string
  parameters: Record<string, string>
  /** Of the build it became. */
  number?: number
  timestamp: number
}

/** A Jenkins that remembers, in memory: its queue and its builds. */
export interface TestJenkins {
  url: string
  items: Item[]
  requests: string[]
  /** Crumbs are asked for; off: as with an API token, and no issuer. */
  crumbs: boolean
  /** What comes next: `cut` does what was asked and drops the connection, `login` sends there. */
  next: (number | 'pass' | 'cut' | 'login' | 'https')[]
  /** What the Location of a start begins with; default this server. */
  origin: string | undefined
  /** Whether items become builds at once. */
  executors: boolean
  /** Whether a plugin keeps everything out of the queue. */
  vetoed: boolean
  /** All waiting items become builds. */
  build(): void
}

interface JenkinsResponse {
  status: number
  headers?: Record<string, string>
  body?: unknown
}

export async function startJenkins(
  t: Pick<Test, 'teardown'>,
  jobs: Record<string, Job>,
): Promise<TestJenkins> {
  const jenkins: TestJenkins = {
    url: '',
    items: [],
    requests: [],
    crumbs: true,
    next: [],
    origin: undefined,
    executors: true,
    vetoed: false,
    build: () => {
      for (const item of jenkins.items) {
        item.number ??=
          jenkins.items.filter(({ job, number }) => job === item.job && number).length + 1
      }
    },
  }
  const crumbOf = new Map<string, string>()
  const server = createServer(async (request, response) => {
    jenkins.requests.push(`${request.method} ${request.url}`)
    const body = await text(request)
    const order = jenkins.next.shift()
    const respond = ({ status, headers = {}, body: value }: JenkinsResponse) => {
      if (order === 'cut') return response.destroy()
      response.writeHead(status, headers)
      return response.end(typeof value === 'string' ? value : value && JSON.stringify(value))
    }
    if (typeof order === 'number') return respond({ status: order, body: `HTTP ERROR ${order}` })
    if (order === 'login') {
      return respond({ status: 302, headers: { location: '/ci/login?from=%2Fci%2F' } })
    }
    const url = new URL(request.url ?? '/', jenkins.url)
    if (order === 'https') {
      return respond({
        status: 301,
        headers: { location: `https://ci.example.com${url.pathname}` },
      })
    }
    const refused = refuse(jenkins, request.method ?? 'GET', request.headers, crumbOf)
    if (refused) return respond(refused)
    if (url.pathname === '/ci/crumbIssuer/api/json') return respond(issue(jenkins, crumbOf))
    const form = new URLSearchParams(body)
    return respond(handle(jenkins, jobs, request.method ?? 'GET', url, form))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  jenkins.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/ci`
  return jenkins
}

/** A crumb is worth something only in the session it was made in. */
function issue(jenkins: TestJenkins, crumbOf: Map<string, string>): JenkinsResponse {
  if (!jenkins.crumbs) return { status: 404, body: 'Not Found' }
  const [session, crumb] = [randomBytes(8).toString('hex'), randomBytes(8).toString('hex')]
  crumbOf.set(session, crumb)
  return {
    status: 200,
    headers: { 'set-cookie': `JSESSIONID.1a2b=${session}; Path=/ci; HttpOnly` },
    body: { _class: 'DefaultCrumbIssuer', crumb, crumbRequestField: 'Jenkins-Crumb' },
  }
}

function refuse(
  jenkins: TestJenkins,
  method: string,
  headers: IncomingHttpHeaders,
  crumbOf: Map<string, string>,
): JenkinsResponse | undefined {
  const basic = Buffer.from(`${JENKINS_USER}:${JENKINS_TOKEN}`).toString('base64')
  if (headers.authorization !== `Basic ${basic}`) {
    return { status: 401, body: '<html><title>Error 401 Invalid password/token</title></html>' }
  }
  if (method !== 'POST' || !jenkins.crumbs) return undefined
  const session = /JSESSIONID\.1a2b=(\w+)/.exec(headers.cookie ?? '')?.[1] ?? ''
  const crumb = crumbOf.get(session)
  if (crumb !== undefined && headers['jenkins-crumb'] === crumb) return undefined
  return { status: 403, body: 'No valid crumb was included in the request' }
}

function handle(
  jenkins: TestJenkins,
  jobs: Record<string, Job>,
  method: string,
  url: URL,
  form: URLSearchParams,
): JenkinsResponse {
  const tree = url.searchParams.get('tree') ?? ''
  const path = url.pathname.slice('/ci'.length)
  if (path === '/queue/api/json') {
    const waiting = jenkins.items.filter((item) => item.number === undefined)
    return { status: 200, body: { items: waiting.map((item) => showItem(item)) } }
  }
  const queued = /^\/queue\/item\/(\d+)\/api\/json$/.exec(path)?.[1]
  if (queued !== undefined) {
    const item = jenkins.items.find(({ id }) => String(id) === queued)
    return item ? { status: 200, body: showItem(item) } : { status: 404 }
  }
  const found = /^((?:\/job\/[^/]+)+)\/(.+)$/.exec(path)
  const name = (found?.[1] ?? '').split('/job/').slice(1).map(decodeURIComponent).join('/')
  const job = jobs[name]
  if (!job) return { status: 404, body: 'Not Found' }
  const verb = `${method} ${found?.[2]}`
  if (verb === 'GET api/json') return { status: 200, body: showJob(jenkins, name, job, tree) }
  if (job.disabled) return { status: 409, body: `java.io.IOException: ${name} is not buildable` }
  if (verb === 'POST buildWithParameters') {
    if (job.parameters) return enqueue(jenkins, name, job.parameters, form)
    return { status: 400, body: `java.io.IOException: ${name} is not parameterized` }
  }
  if (verb === 'POST build') {
    if (!job.parameters) return enqueue(jenkins, name, [], form)
    return { status: 400, body: 'This page expects a form submission' }
  }
  return { status: 404, body: 'Not Found' }
}

/** As the real one: what is not declared is dropped, what is not given is empty. */
function enqueue(
  jenkins: TestJenkins,
  job: string,
  declared: string[],
  form: URLSearchParams,
): JenkinsResponse {
  if (jenkins.vetoed) return { status: 302, headers: { location: '.' } }
  const parameters = Object.fromEntries(declared.map((name) => [name, form.get(name) ?? '']))
  const id = 40 + jenkins.items.length
  jenkins.items.push({ id, job, parameters, timestamp: Date.now() })
  if (jenkins.executors) jenkins.build()
  const origin = jenkins.origin ?? new URL(jenkins.url).origin
  return { status: 201, headers: { location: `${origin}/ci/queue/item/${id}/` } }
}

/** Jenkins writes its own configured address into what it returns. */
const ROOT = 'https://ci.example.com/ci'
const jobPath = (job: string) =>
  job
    .split('/')
    .map((name) => `/job/${encodeURIComponent(name)}`)
    .join('')

const showMarks = ({ parameters }: Item) => [
  ...[{}, null, { _class: 'CauseAction' }],
  { parameters: Object.entries(parameters).map(([name, value]) => ({ name, value })) },
]

function showItem(item: Item) {
  const { id, job, number } = item
  const executable = number && { number, url: `${ROOT}${jobPath(job)}/${number}/` }
  const task = { url: `${ROOT}${jobPath(job)}/` }
  return { id, url: `queue/item/${id}/`, task, actions: showMarks(item), executable }
}

function showJob(jenkins: TestJenkins, name: string, job: Job, tree: string) {
  if (job.folder) return { _class: 'Folder' }
  const range = /^allBuilds\[.*\]\{(\d+),(\d+)\}$/.exec(tree)
  if (range) {
    const builds = jenkins.items.filter((item) => item.job === name && item.number).reverse()
    return {
      allBuilds: builds.slice(Number(range[1]), Number(range[2])).map((item) => ({
        number: item.number,
        timestamp: item.timestamp,
        actions: showMarks(item),
        url: `${ROOT}${jobPath(name)}/${item.number}/`,
      })),
    }
  }
  const property = job.parameters
    ? [{ _class: 'Other' }, { parameterDefinitions: job.parameters.map((name) => ({ name })) }]
    : []
  return { _class: 'FreeStyleProject', buildable: !job.disabled, property }
}
