import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import type { EventFacts } from './event.ts'
import { readPullRequest, readRun } from './github.ts'
import {
  anySignature,
  changedPaths,
  commitMessage,
  commitOrNone,
  commitSha,
  type Delivery,
  header,
  isNoCommit,
  pageUrl,
  payloadText,
  projectPath,
  type Reading,
  readMovedRef,
  readPayload,
  type Source,
  sha256Hex,
} from './source.ts'

/** Whether one of these commits has that commit as a parent. */
export type Follows = (
  project: string,
  commits: readonly string[],
  before: string,
) => Promise<boolean>

export interface GiteaOptions {
  secrets: readonly string[]
  /** Without it every file counts as changed: Gitea does not report whether a push replaced commits. */
  follows?: Follows | undefined
}

/**
 * Webhooks of Gitea (https://docs.gitea.com/usage/webhooks) and Forgejo, by Gitea's own headers. They
 * resemble GitHub's and contain less.
 */
export function createGiteaSource({ secrets, follows }: GiteaOptions): Source {
  return {
    signed: () => true,
    authenticate({ headers, body }: Delivery) {
      const given = header(headers, 'x-gitea-signature')
      if (given === undefined) return { refused: 'missing' }
      const content = isForm(headers) ? payloadOfForm(body) : body
      return anySignature(given, secrets, 'hex', content)
        ? { id: sha256Hex(content), timeless: true, content }
        : { refused: 'wrong' }
    },
    read,
    complete: async (facts, payload) => {
      const { push, paths, project } = facts
      if (push === undefined || paths === undefined) return facts
      const commits = (readPayload(pushEvent, payload).commits ?? []).map(({ id }) => id)
      const isContinued = (await follows?.(project, commits, push.before)) ?? false
      return { ...facts, paths: isContinued ? paths : undefined }
    },
  }
}

const isForm = (headers: IncomingHttpHeaders) =>
  /^application\/x-www-form-urlencoded\b/i.test(header(headers, 'content-type') ?? '')

/** Gitea signs the content of the form, not the form. */
const payloadOfForm = (body: Buffer): Buffer =>
  Buffer.from(new URLSearchParams(body.toString('utf8')).get('payload') ?? '')

/** X-Gitea-Event gives a review, a comment and a comment on a pull request one name. */
function read(headers: IncomingHttpHeaders, payload: unknown): Reading {
  const type = header(headers, 'x-gitea-event-type') ?? header(headers, 'x-gitea-event') ?? ''
  const known = Object.hasOwn(readers, type) ? readers[type] : undefined
  if (!known) {
    const name = readPayload(payloadText(40), type)
    return { ignored: `events of kind ${name || 'none'} are not used` }
  }
  const reading = known(payload)
  return 'ignored' in reading ? reading : { ...reading, source: 'gitea', via: 'gitea' }
}

const files = z.array(z.string()).nullish()
const commit = z.object({
  id: commitSha,
  message: commitMessage,
  added: files,
  modified: files,
  removed: files,
})
const pushEvent = z.object({
  repository: z.object({
    full_name: projectPath,
    html_url: pageUrl.optional(),
    mirror: z.boolean().optional(),
  }),
  sender: z.object({ login: payloadText(255) }).optional(),
  ref: z.string().max(300),
  before: commitSha,
  after: commitSha,
  compare_url: pageUrl.optional(),
  total_commits: z.int().min(0).optional(),
  /** Null for a pull mirror. For an annotated tag: the commit's id and the tag's message. */
  head_commit: commit.nullish(),
  commits: z.array(commit).nullish(),
})
type Push = z.output<typeof pushEvent>

function readPush(payload: unknown): Reading {
  const push = readPayload(pushEvent, payload)
  const moved = readMovedRef({ ...push, ref: wholeRef(push) })
  if ('ignored' in moved) return moved
  const head = push.head_commit ?? push.commits?.find(({ id }) => id === push.after)
  const facts: EventFacts = {
    source: 'gitea',
    via: 'gitea',
    ...moved,
    project: push.repository.full_name,
    commit: (moved.kind === 'tag' && head?.id) || push.after,
    by: push.sender?.login ?? '',
    title: '',
    ...head?.message,
    url: push.compare_url || (push.repository.html_url ?? ''),
    push: { before: commitOrNone(push.before), after: push.after },
    paths: pathsOf(push),
  }
  return facts
}

/** For a branch of a pull mirror that got commits, Gitea sends the bare name. */
const wholeRef = ({ ref, repository }: Push) =>
  repository.mirror && !ref.startsWith('refs/') ? `refs/heads/${ref}` : ref

/** Most commits that Gitea lists: [ui] FEED_MAX_COMMIT_NUM. Older versions do not send the total. */
const MOST_COMMITS = 5

function pathsOf({ commits, before, total_commits: total }: Push): string[] | undefined {
  const listed = commits?.length ?? 0
  const all = total === undefined ? listed < MOST_COMMITS : listed === total
  if (isNoCommit(before) || listed === 0 || !all) return undefined
  return changedPaths(commits ?? [])
}

/** Everybody who may read may comment, and the payload does not show who is a member. */
const readComment = (): Reading => ({
  ignored: 'comments are not used: Gitea does not tell whether their author is a member',
})

const news = new Set(['opened', 'reopened', 'synchronized'])

const readers: Record<string, (payload: unknown) => Reading> = {
  push: readPush,
  pull_request: (payload) => readPullRequest(payload, news),
  pull_request_sync: (payload) => readPullRequest(payload, news),
  issue_comment: readComment,
  pull_request_comment: readComment,
  workflow_run: readRun,
}
