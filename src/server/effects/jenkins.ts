import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { header } from '../../core/http/body.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { wait } from '../../core/retry.ts'
import { type Call, type CallResponse, call } from '../platforms/http.ts'
import { templateFacts } from '../sources/event.ts'
import { type Attempt, type Effect, eventVariables } from './effect.ts'
import { templateText } from './templates.ts'

const MARK = 'CROSSCLOUD_EVENT_ID'

// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
const JOB = /^(?!\.{1,2}(?:\/|$))[^/\x00-\x1f\\?*]+(?:\/(?!\.{1,2}(?:\/|$))[^/\x00-\x1f\\?*]+)*$/

/** `jenkins:` of a route: the job it starts. */
export const jenkinsJobSettings = z.strictObject({
  job: z
    .string()
    .regex(JOB, 'is not a job; write folder/job, of a branch folder/job/feature%2Fx')
    .describe('Job, with the folders it is in: folder/webapi'),
  parameters: z
    .record(z.string().regex(/^[A-Za-z_][\w.-]*$/, 'is not the name of a parameter'), templateText)
    .default({})
    .describe(
      `Parameters it gets, which it must declare, beside CROSSCLOUD_EVENT_…: templates, such as {{commit}}. Let it declare ${MARK}: without, an attempt whose response was lost may start a second build`,
    ),
})

export interface JenkinsAccess {
  http: HttpClient
  url: string
  user: string
  /** The user's API token. */
  token: string
}

export interface JenkinsOptions {
  /** How long to wait for the build to leave Jenkins' queue, to report its page; milliseconds. */
  queueTimeout?: number
}

/** One request to this Jenkins; `path` is already encoded. */
type Ask = (path: string, more?: Partial<Call>) => Promise<CallResponse>

/** Only these properties of an object; Tomcat refuses brackets that are not encoded. */
const reading = (path: string, tree: string) => `${path}/api/json?tree=${encodeURIComponent(tree)}`

/** Starts a job once for each event, even when the response to an earlier attempt was lost. */
export function createJenkinsEffect(
  settings: z.output<typeof jenkinsJobSettings>,
  access: JenkinsAccess,
  render: (template: string, facts: Record<string, string>) => string,
  { queueTimeout = 2000 }: JenkinsOptions = {},
): Effect {
  const { job } = settings
  const base = access.url.replace(/\/+$/, '')
  const path = `/${job
    .split('/')
    .map((name) => `job/${encodeURIComponent(name)}`)
    .join('/')}`
  return async (attempt) => {
    const { facts, id, signal } = attempt
    const ask = asker(`starting job ${job}`, base, access, signal)
    const declared = await readParameters(ask, job, path, Object.keys(settings.parameters))
    const marked = declared?.includes(MARK) ?? false
    const known =
      attempt.again && marked ? await findStarted(ask, base, job, path, attempt) : undefined
    if (known) return { text: `job ${job} was started`, url: known, state: 'started' }
    const values = templateFacts(facts, id)
    const form = {
      ...Object.fromEntries(
        Object.entries(settings.parameters).map(([name, text]) => [name, render(text, values)]),
      ),
      ...eventVariables(attempt),
    }
    const target = declared ? `${path}/buildWithParameters` : `${path}/build`
    const headers = await readCrumb(ask)
    await attempt.confirm()
    const response = await ask(target, { method: 'POST', headers, form: declared ? form : {} })
    const item = queueItemOf(response, base)
    const url = item && (await buildOf(ask, base, item, queueTimeout, signal))
    return { text: `job ${job} was started`, url, state: 'started' }
  }
}

function asker(what: string, base: string, access: JenkinsAccess, signal: AbortSignal): Ask {
  const basic = Buffer.from(`${access.user}:${access.token}`).toString('base64')
  return async (path, more = {}) => {
    const url = `${base}${path}`
    const headers = { authorization: `Basic ${basic}`, ...more.headers }
    const { http } = access
    const response = await call({ http, what, server: 'Jenkins', url, signal, ...more, headers })
    if (response.status >= 300 && response.status < 400) throw redirected(what, url, response)
    return response
  }
}

const LOGIN = /\/(?:login|securityRealm|oauth2?|saml2?|sso)(?:\/|$)|\/loginError$/i

/** The error for a redirect of Jenkins or of a proxy in front. */
function redirected(what: string, url: string, response: CallResponse): StepError {
  const from = new URL(url)
  const to = resolveLocation(response, url)
  const message = `${what}: Jenkins answers ${response.status}`
  if (to && LOGIN.test(to.pathname)) {
    return new StepError('UNAUTHORIZED', `${message}: one must log in at ${to.origin}`, {
      hint: 'Check jenkins.user and jenkins.token: an API token of that user, not a password.',
    })
  }
  if (to && (to.origin !== from.origin || to.pathname === from.pathname)) {
    return new StepError('INPUT_INVALID', `${message} and sends to ${to.origin}`, {
      hint: 'Set jenkins.url to the address that Jenkins itself has, with https where it has that.',
    })
  }
  return new StepError('CONFLICT', `${message}: it did not take the job into its queue`, {
    hint: "Look into Jenkins' log for what refused it, then retry the event.",
  })
}

function resolveLocation({ headers }: CallResponse, base: string): URL | undefined {
  const location = header(headers, 'location')
  return location !== undefined && URL.canParse(location, base)
    ? new URL(location, base)
    : undefined
}

function readJson(response: CallResponse, what: string): Record<string, unknown> {
  const value = response.json()
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  throw new StepError('INPUT_INVALID', `${what}: the answer is not Jenkins' JSON`, {
    hint: 'Check jenkins.url: is it a Jenkins, and is its whole path there?',
  })
}

/**
 * The names of the job's parameters; undefined when it has none. Jenkins silently drops parameters
 * that a job does not declare, so they are checked here.
 */
async function readParameters(
  ask: Ask,
  job: string,
  path: string,
  wanted: readonly string[],
): Promise<string[] | undefined> {
  const tree = 'buildable,property[parameterDefinitions[name]]'
  const response = readJson(await ask(reading(path, tree)), `reading job ${job}`)
  const { buildable, property } = response as {
    buildable?: unknown
    property?: { parameterDefinitions?: { name: string }[] }[]
  }
  if (typeof buildable !== 'boolean') {
    throw new StepError('INPUT_INVALID', `starting job ${job}: it is a folder, not a job`, {
      hint: 'Name the job in it: folder/job, of a multibranch project folder/job/main.',
    })
  }
  if (!buildable) {
    throw new StepError('CONFLICT', `starting job ${job}: it is disabled`, {
      hint: 'Enable it in Jenkins, then retry the event.',
    })
  }
  const declared = property?.find(
    ({ parameterDefinitions }) => parameterDefinitions,
  )?.parameterDefinitions
  const names = declared?.map(({ name }) => name)
  const missing = wanted.filter((name) => !names?.includes(name))
  if (missing.length === 0) return names
  const what = names ? `has no parameter ${missing.join(', ')}` : 'is not parameterized'
  throw new StepError('INPUT_INVALID', `starting job ${job}: it ${what}`, {
    hint: 'Declare these parameters in the job, or take them out of the route.',
  })
}

/** The header of the crumb and its session; none where Jenkins has crumbs switched off. */
async function readCrumb(ask: Ask): Promise<Record<string, string>> {
  const response = await ask('/crumbIssuer/api/json', { allow: [404] })
  if (response.status === 404) return {}
  const { crumb, crumbRequestField: field } = readJson(response, 'reading the crumb')
  if (typeof crumb !== 'string' || typeof field !== 'string') return {}
  const cookies = (response.headers['set-cookie'] ?? []).map(
    (cookie) => cookie.split(';', 1)[0] ?? '',
  )
  return { [field]: crumb, ...(cookies.length > 0 && { cookie: cookies.join('; ') }) }
}

/** Takes only the number: requests go to jenkins.url, whatever the response names. */
function queueItemOf(response: CallResponse, base: string): string | undefined {
  const path = resolveLocation(response, base)?.pathname ?? ''
  return /\/queue\/item\/(\d+)\/?$/.exec(path)?.[1]
}

const PAUSE = 250

/**
 * The page of the build when it leaves the queue soon, else of the queue item. The job is started:
 * an error from here on must not fail the effect.
 */
async function buildOf(
  ask: Ask,
  base: string,
  item: string,
  queueTimeout: number,
  signal: AbortSignal,
): Promise<string> {
  const path = `/queue/item/${item}`
  const until = Date.now() + queueTimeout
  try {
    for (;;) {
      const timeout = Math.max(until - Date.now(), 1)
      const response = await ask(reading(path, 'executable[url]'), { timeout })
      const { executable } = readJson(response, path) as { executable?: { url?: unknown } | null }
      const url = pageOf(executable?.url)
      if (url) return url
      if (Date.now() + PAUSE >= until) break
      await wait(PAUSE, signal)
    }
  } catch {}
  return `${base}${path}/`
}

const pageOf = (url: unknown): string | undefined =>
  typeof url === 'string' && /^https?:\/\//i.test(url) ? url : undefined

interface Started {
  id?: number
  number?: number
  url?: string
  timestamp?: number
  task?: { url?: string }
  actions?: ({ parameters?: { name?: string; value?: unknown }[] } | null)[]
}

const carries = ({ actions }: Started, id: string): boolean =>
  actions?.some((action) =>
    action?.parameters?.some(({ name, value }) => name === MARK && value === id),
  ) ?? false

const MARKS = 'actions[parameters[name,value]]'
/** Clocks differ. */
const SLACK = 10 * 60_000
const PAGE = 100
const MOST_PAGES = 10

/**
 * The page of what an earlier attempt started. The queue is read first: an item that leaves it is
 * among the builds, which are read twice, because for a moment it is in neither.
 */
async function findStarted(
  ask: Ask,
  base: string,
  job: string,
  path: string,
  { id, begunAt, signal }: Attempt,
): Promise<string | undefined> {
  const queue = readJson(await ask(reading('/queue', `items[id,url,task[url],${MARKS}]`)), 'queue')
  const items = Array.isArray(queue.items) ? (queue.items as Started[]) : []
  const item = items.find((queued) => carries(queued, id) && jobOf(queued.task?.url) === job)
  if (item?.id !== undefined) return `${base}/queue/item/${item.id}/`
  for (let look = 1; look <= 2; look++) {
    if (look > 1) await wait(PAUSE, signal)
    const build = await findBuild(ask, path, id, begunAt - SLACK)
    if (build) return pageOf(build.url) ?? `${base}${path}/${build.number}/`
  }
  return undefined
}

/** `builds` ends after the newest hundred; `allBuilds` does not. */
async function findBuild(ask: Ask, path: string, id: string, since: number) {
  for (let page = 0; page < MOST_PAGES; page++) {
    const range = `{${page * PAGE},${(page + 1) * PAGE}}`
    const tree = `allBuilds[number,url,timestamp,${MARKS}]${range}`
    const response = readJson(await ask(reading(path, tree)), 'builds')
    const builds = Array.isArray(response.allBuilds) ? (response.allBuilds as Started[]) : []
    const found = builds.find((build) => carries(build, id))
    if (found) return found
    if (builds.length < PAGE || (builds.at(-1)?.timestamp ?? 0) < since) return undefined
  }
  return undefined
}

/** `https://ci.example.com/jenkins/job/folder/job/webapi/` → `folder/webapi`. */
function jobOf(url: string | undefined): string | undefined {
  if (url === undefined || !URL.canParse(url)) return undefined
  const names = [...new URL(url).pathname.matchAll(/\/job\/([^/]+)/g)].map(([, name]) => name ?? '')
  try {
    return names.map(decodeURIComponent).join('/')
  } catch {
    return undefined
  }
}
