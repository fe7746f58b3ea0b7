import { type EventKind, sourceKinds } from '../sources/event.ts'
import type { RouteSettings } from './settings.ts'

export interface Fault {
  path: (string | number)[]
  message: string
}

interface Platform {
  token?: string | undefined
  'catch-up'?: boolean
}

/** A file in which every part is sound by itself. */
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
}

/** What is wrong between the parts: names that lead nowhere, tokens that are missing. */
export function findFaults(all: Parts): Fault[] {
  const names = new Set<string>()
  const repeated = (path: (string | number)[], name: string): Fault[] => {
    if (!names.has(name)) {
      names.add(name)
      return []
    }
    return [{ path: [...path, 'name'], message: `"${name}" is there twice` }]
  }
  const unknownNotice = (path: (string | number)[], notify: string[]): Fault[] =>
    notify
      .filter((name) => !Object.hasOwn(all.notify, name))
      .map((name) => ({ path: [...path, 'notify'], message: `"${name}" is not under notify` }))
  return [
    ...noSource(all),
    ...catchUpFaults('gitlab', all.gitlab),
    ...catchUpFaults('github', all.github),
    ...Object.keys(all.generic)
      .filter((name) => (sourceKinds as readonly string[]).includes(name))
      .map((name) => ({ path: ['generic', name], message: 'is the name of another source' })),
    ...all.routes.flatMap((one, index) => [
      ...repeated(['routes', index], one.name),
      ...routeFaults(one, all).map((message) => ({ path: ['routes', index], message })),
      ...unknownNotice(['routes', index], one.notify),
    ]),
    ...all.schedules.flatMap((one, index) => [
      ...repeated(['schedules', index], one.name),
      ...unknownNotice(['schedules', index], one.notify),
    ]),
  ]
}

function catchUpFaults(name: 'gitlab' | 'github', one: Platform | undefined): Fault[] {
  if (!one?.['catch-up'] || one.token !== undefined) return []
  return [{ path: [name, 'catch-up'], message: `needs ${name}.token` }]
}

function noSource({ gitlab, github, gitea, harbor, generic: more, schedules }: Parts): Fault[] {
  const any = gitlab ?? github ?? gitea ?? harbor ?? Object.keys(more)[0] ?? schedules[0]
  const message =
    'says nothing to listen to: give it gitlab, github, gitea, harbor, generic or schedules'
  return any === undefined ? [{ path: [], message }] : []
}

/** Kinds of events that have a commit to build, and come from who may push, or knows the secret. */
const buildable = new Set<string>(['push', 'tag', 'custom'])

/** What each source tells of. */
const kindsOf: Readonly<Record<string, readonly EventKind[]>> = {
  gitlab: ['push', 'tag', 'merge-request', 'comment', 'pipeline'],
  github: ['push', 'tag', 'merge-request', 'comment', 'pipeline'],
  // Nothing tells whether a comment's author is a member.
  gitea: ['push', 'tag', 'merge-request', 'pipeline'],
  harbor: ['artifact', 'scan'],
}

const ASKS_FOR_COMMITS =
  'has paths, which needs gitea.token: Gitea must be asked whether a push replaced commits'

/** Where a route's workflow is: where its events come from, else on GitHub, else on Gitea. */
export function workflowServer(
  source: string,
  { github, gitea }: { github?: object | undefined; gitea?: object | undefined },
): 'github' | 'gitea' {
  if (source === 'github') return source
  return source === 'gitea' || (!github && gitea) ? 'gitea' : 'github'
}

/** What a route needs that the file does not have. */
function routeFaults(one: RouteSettings, all: Parts): string[] {
  const { source } = one
  const fixed = ['gitlab', 'github', 'gitea', 'harbor'] as const
  const known = [...fixed.filter((name) => all[name]), ...Object.keys(all.generic)]
  const token: Readonly<Record<string, string | undefined>> = {
    ...{ gitlab: all.gitlab?.token, github: all.github?.token, gitea: all.gitea?.token },
  }
  const platform = Object.hasOwn(token, source) ? source : undefined
  const hub = workflowServer(source, all)
  const needs: [unknown, unknown, string][] = [
    [one.pipeline, token.gitlab, 'starts a pipeline, which needs gitlab.token'],
    [one.workflow, token[hub], `dispatches a workflow, which needs ${hub}.token`],
    [one.jenkins, all.jenkins, 'starts a job, which needs jenkins'],
    [one.status, platform, 'sets a status, which only commits on gitlab, github and gitea have'],
    [one.paths && source === 'gitea', token.gitea, ASKS_FOR_COMMITS],
    [
      one.reply,
      platform && source !== 'gitea',
      'replies, which only comments on gitlab and github allow',
    ],
    [one.status && platform, platform && token[platform], `sets a status: give ${source}.token`],
    [one.reply && platform, platform && token[platform], `replies, which needs ${source}.token`],
    [
      one.run?.repository,
      one.on.every((kind) => buildable.has(kind)),
      'builds a repository: write on: [push] or [push, tag]',
    ],
    [one.gate, one.on.every((kind) => kind === 'scan'), 'has a gate: write on: [scan]'],
    [one.reply, one.on.every((kind) => kind === 'comment'), 'replies: write on: [comment]'],
  ]
  const acts = one.pipeline ?? one.workflow ?? one.jenkins ?? one.run
  const refuses: [unknown, string][] = [
    [
      one.on.includes('pipeline') && (acts || one.status),
      'does something when a pipeline ends, which may start the next one: with on: [pipeline] it may only notify',
    ],
    [
      one.on.includes('comment') && (acts || one.status),
      'does something for a comment, which anybody may write: with on: [comment] it may only reply or notify',
    ],
    [one.branches && source === 'harbor', 'has branches, and images have none; write tags'],
  ]
  if (!known.includes(source)) {
    return [`has source "${source}", which is not here; known: ${known.join(', ') || 'none'}`]
  }
  const told = kindsOf[source] ?? ['custom']
  const never = one.on.filter((kind) => !told.includes(kind))
  return [
    ...never.map(
      (kind) =>
        `waits for ${kind}, which never comes from ${source}; write ${told.join(' or ')} under on`,
    ),
    ...needs.filter(([asked, there]) => asked && !there).map(([, , message]) => message),
    ...refuses.filter(([asked]) => asked).map(([, message]) => message),
  ]
}
