import { isLoopback } from '../../core/http/loopback.ts'
import { type EventKind, sourceKinds } from '../sources/event.ts'
import type { RouteSettings } from './route.ts'

export interface SettingsProblem {
  path: (string | number)[]
  message: string
}

interface Platform {
  token?: string | undefined
  'catch-up'?: boolean
}

/** Settings whose parts are valid by themselves. */
export interface Parts {
  gitlab?: Platform | undefined
  github?: Platform | undefined
  gitea?: Platform | undefined
  harbor?: object | undefined
  jenkins?: object | undefined
  generic: Record<string, unknown>
  notify: Record<string, unknown>
  routes: RouteSettings[]
  schedules: { name: string; notify: string[] }[]
  applications: Record<string, unknown>
  listen: { host: string; tls?: object | undefined; proxies: readonly string[] }
  sessions?: { url: string } | undefined
  logins?: { issuers: Readonly<Record<string, unknown>> } | undefined
  policy?:
    | {
        grants: readonly { who?: string | undefined }[]
        tests: readonly { as?: readonly string[] | undefined }[]
      }
    | undefined
  ledger?: object | undefined
}

/** Problems between the parts: unknown names, missing tokens. */
export function findProblems(all: Parts): SettingsProblem[] {
  const names = new Set<string>()
  const repeated = (path: (string | number)[], name: string): SettingsProblem[] => {
    if (!names.has(name)) {
      names.add(name)
      return []
    }
    return [{ path: [...path, 'name'], message: `"${name}" is there twice` }]
  }
  const unknownReceivers = (path: (string | number)[], notify: string[]): SettingsProblem[] =>
    notify
      .filter((name) => !Object.hasOwn(all.notify, name))
      .map((name) => ({ path: [...path, 'notify'], message: `"${name}" is not under notify` }))
  return [
    ...noSource(all),
    ...plainSessions(all),
    ...bareSessions(all),
    ...loginProblems(all),
    ...backfillProblems('gitlab', all.gitlab),
    ...backfillProblems('github', all.github),
    ...Object.keys(all.generic)
      .filter((name) => (sourceKinds as readonly string[]).includes(name))
      .map((name) => ({ path: ['generic', name], message: 'is the name of another source' })),
    ...all.routes.flatMap((route, index) => [
      ...repeated(['routes', index], route.name),
      ...routeProblems(route, all).map((message) => ({ path: ['routes', index], message })),
      ...unknownReceivers(['routes', index], route.notify),
    ]),
    ...all.schedules.flatMap(({ name, notify }, index) => [
      ...repeated(['schedules', index], name),
      ...unknownReceivers(['schedules', index], notify),
    ]),
  ]
}

/** Nobody may anything without a policy, nothing is done without an audit, and there is nothing to do. */
function bareSessions({ sessions, policy, ledger, applications }: Parts): SettingsProblem[] {
  if (sessions === undefined) return []
  const needed = { policy, ledger, applications: Object.keys(applications)[0] }
  const missing = Object.entries(needed).flatMap(([name, part]) =>
    part === undefined ? [name] : [],
  )
  if (missing.length === 0) return []
  return [{ path: ['sessions'], message: `needs ${missing.join(', ')}, too` }]
}

const PLAIN =
  'would go over plain HTTP: set listen.tls, or name the proxy in front that speaks TLS: listen.proxies'

/** Sessions and API tokens are secrets, and anybody on the way could read them. */
function plainSessions({ sessions, listen: { host, tls, proxies } }: Parts): SettingsProblem[] {
  const isSafe = tls !== undefined || proxies.length > 0 || isLoopback(host) || host === '::1'
  return sessions === undefined || isSafe ? [] : [{ path: ['sessions'], message: PLAIN }]
}

/** People need what sessions need; names of several issuers say whose they are. */
function loginProblems({ logins, sessions, policy }: Parts): SettingsProblem[] {
  if (logins === undefined) return []
  if (sessions === undefined) return [{ path: ['logins'], message: 'needs sessions, too' }]
  const problems: SettingsProblem[] = []
  if (new URL(sessions.url).pathname !== '/') {
    const message =
      'has a path, where logins need a host of their own: their cookie is for all of it'
    problems.push({ path: ['sessions', 'url'], message })
  }
  const names = Object.keys(logins.issuers)
  return [...problems, ...(names.length < 2 ? [] : unmarkedNames(names, policy))]
}

/** `user:li` could be anybody's li. */
function unmarkedNames(names: readonly string[], policy: Parts['policy']): SettingsProblem[] {
  const { grants = [], tests = [] } = policy ?? {}
  const written = [
    ...grants.map(({ who }, index) => ({ path: ['grants', index, 'who'], names: [who] })),
    ...tests.map(({ as = [] }, index) => ({ path: ['tests', index, 'as'], names: as })),
  ]
  return written.flatMap(({ path, names: all }) =>
    all.flatMap((who): SettingsProblem[] => {
      if (who === undefined || who.startsWith('token:')) return []
      const [name = '', id] = who.split('#')
      if (names.some((login) => name.endsWith(`@${login}`))) return []
      const better = `${name}@${names[0]}${id === undefined ? '' : `#${id}`}`
      const message = `has ${who}, of several logins: write ${better}`
      return [{ path: ['policy', ...path], message }]
    }),
  )
}

function backfillProblems(
  name: 'gitlab' | 'github',
  platform: Platform | undefined,
): SettingsProblem[] {
  if (!platform?.['catch-up'] || platform.token !== undefined) return []
  return [{ path: [name, 'catch-up'], message: `needs ${name}.token` }]
}

function noSource({
  gitlab,
  github,
  gitea,
  harbor,
  generic: more,
  schedules,
  applications,
  sessions,
}: Parts): SettingsProblem[] {
  const named = [...Object.keys(more), ...Object.keys(applications)]
  const any = gitlab ?? github ?? gitea ?? harbor ?? named[0] ?? schedules[0] ?? sessions
  const message =
    'says nothing to listen to: give it gitlab, github, gitea, harbor, generic, schedules, applications or sessions'
  return any === undefined ? [{ path: [], message }] : []
}

/** Kinds of events with a commit to build, sent by those who may push or know the secret. */
const buildable = new Set<string>(['push', 'tag', 'custom'])

/** The kinds of events of each source. */
const kindsOf: Readonly<Record<string, readonly EventKind[]>> = {
  gitlab: ['push', 'tag', 'merge-request', 'comment', 'pipeline'],
  github: ['push', 'tag', 'merge-request', 'comment', 'pipeline'],
  // Comments do not show whether their author is a member.
  gitea: ['push', 'tag', 'merge-request', 'pipeline'],
  harbor: ['artifact', 'scan'],
}

const ASKS_FOR_COMMITS =
  'has paths, which needs gitea.token: Gitea must be asked whether a push replaced commits'

const BESIDE_THE_KEYS =
  'builds a repository beside the keys of applications, which every build could read: let it start a pipeline, or run it on a server of its own, with another user, another queue.name and no applications'

/** The server of a route's workflow: the source of its events, else GitHub, else Gitea. */
export function workflowServer(
  source: string,
  { github, gitea }: { github?: object | undefined; gitea?: object | undefined },
): 'github' | 'gitea' {
  if (source === 'github') return source
  return source === 'gitea' || (!github && gitea) ? 'gitea' : 'github'
}

/** What a route needs and the settings lack. */
function routeProblems(route: RouteSettings, all: Parts): string[] {
  const { source } = route
  const fixed = ['gitlab', 'github', 'gitea', 'harbor'] as const
  const known = [...fixed.filter((name) => all[name]), ...Object.keys(all.generic)]
  const token: Readonly<Record<string, string | undefined>> = {
    gitlab: all.gitlab?.token,
    github: all.github?.token,
    gitea: all.gitea?.token,
  }
  const platform = Object.hasOwn(token, source) ? source : undefined
  const hub = workflowServer(source, all)
  const needs: [unknown, unknown, string][] = [
    [route.pipeline, token.gitlab, 'starts a pipeline, which needs gitlab.token'],
    [route.workflow, token[hub], `dispatches a workflow, which needs ${hub}.token`],
    [route.jenkins, all.jenkins, 'starts a job, which needs jenkins'],
    [route.status, platform, 'sets a status, which only commits on gitlab, github and gitea have'],
    [route.paths && source === 'gitea', token.gitea, ASKS_FOR_COMMITS],
    [
      route.reply,
      platform && source !== 'gitea',
      'replies, which only comments on gitlab and github allow',
    ],
    [route.status && platform, platform && token[platform], `sets a status: give ${source}.token`],
    [route.reply && platform, platform && token[platform], `replies, which needs ${source}.token`],
    [
      route.run?.repository,
      route.on.every((kind) => buildable.has(kind)),
      'builds a repository: write on: [push] or [push, tag]',
    ],
    [route.gate, route.on.every((kind) => kind === 'scan'), 'has a gate: write on: [scan]'],
    [route.reply, route.on.every((kind) => kind === 'comment'), 'replies: write on: [comment]'],
  ]
  const acts = route.pipeline ?? route.workflow ?? route.jenkins ?? route.run
  const refuses: [unknown, string][] = [
    [route.run?.repository && Object.keys(all.applications).length > 0, BESIDE_THE_KEYS],
    [
      route.on.includes('pipeline') && (acts || route.status),
      'does something when a pipeline ends, which may start the next one: with on: [pipeline] it may only notify',
    ],
    [
      route.on.includes('comment') && (acts || route.status),
      'does something for a comment, which anybody may write: with on: [comment] it may only reply or notify',
    ],
    [route.branches && source === 'harbor', 'has branches, and images have none; write tags'],
  ]
  if (!known.includes(source)) {
    return [`has source "${source}", which is not here; known: ${known.join(', ') || 'none'}`]
  }
  const sent = kindsOf[source] ?? ['custom']
  const never = route.on.filter((kind) => !sent.includes(kind))
  return [
    ...never.map(
      (kind) =>
        `waits for ${kind}, which never comes from ${source}; write ${sent.join(' or ')} under on`,
    ),
    ...needs.filter(([asked, there]) => asked && !there).map(([, , message]) => message),
    ...refuses.filter(([asked]) => asked).map(([, message]) => message),
  ]
}
