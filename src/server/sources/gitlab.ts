import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import {
  anySecret,
  changedPaths,
  checkStandardSignature,
  commitMessage,
  commitOrNone,
  commitSha,
  type Delivery,
  firstLine,
  header,
  isNoCommit,
  pageUrl,
  payloadText,
  projectPath,
  type Reading,
  readMovedRef,
  readPayload,
  refName,
  SIGNING_KEY,
  type Source,
  sha256Hex,
  signingKey,
} from './source.ts'

/**
 * Webhooks of GitLab (https://docs.gitlab.com/user/project/integrations/webhook_events/). A secret
 * written `whsec_…` is a signing key, any other secret a token; a signature that was sent must be valid.
 */
export function createGitlabSource({ secrets }: { secrets: readonly string[] }): Source {
  const keys = secrets.filter((secret) => secret.startsWith(SIGNING_KEY)).map(signingKey)
  const tokens = secrets.filter((secret) => !secret.startsWith(SIGNING_KEY))
  return {
    signed: (headers) => header(headers, 'webhook-signature') !== undefined,
    authenticate(delivery) {
      const signed = checkStandardSignature(delivery, keys)
      if (signed !== undefined) return signed
      const token = header(delivery.headers, 'x-gitlab-token')
      if (token === undefined) return { refused: 'missing' }
      return anySecret(token, tokens) ? { id: deliveryId(delivery) } : { refused: 'wrong' }
    },
    read: (headers, payload) => read(headers, payload),
  }
}

/** Several deliveries of one event share X-Gitlab-Event-UUID: the body completes the id. */
function deliveryId({ headers, body }: Delivery): string {
  const key = header(headers, 'idempotency-key')
  if (key !== undefined) return key
  return `${header(headers, 'x-gitlab-event-uuid') ?? ''} ${sha256Hex(body)}`
}

function read(_headers: IncomingHttpHeaders, payload: unknown): Reading {
  const { object_kind: kind } = readPayload(anyEvent, payload)
  const known = Object.hasOwn(readers, kind) ? readers[kind] : undefined
  if (!known) return { ignored: `events of kind ${kind} are not used` }
  return known(payload)
}

const anyEvent = z.object({ object_kind: payloadText(40) })
const project = z.object({ path_with_namespace: projectPath, web_url: pageUrl.optional() })
const user = z.object({ username: payloadText(255) })
const nothing = { source: 'gitlab', via: 'gitlab', ref: '', commit: '', by: '', title: '' } as const

const commit = z.object({
  id: payloadText(64),
  title: firstLine.optional(),
  message: commitMessage.optional(),
  url: pageUrl.optional(),
  added: z.array(z.string()).optional(),
  modified: z.array(z.string()).optional(),
  removed: z.array(z.string()).optional(),
})
/** https://docs.gitlab.com/topics/git/commit/#push-options: git push -o ci.skip */
const pushOptions = z
  .object({ ci: z.object({ skip: z.unknown().optional() }).nullish() })
  .nullish()
  .catch(undefined)
const pushEvent = z.object({
  project,
  ref: z.string().max(300),
  before: commitSha,
  after: commitSha,
  checkout_sha: commitSha.nullish(),
  user_username: payloadText(255).optional(),
  message: firstLine.nullish(),
  commits: z.array(commit).default([]),
  total_commits_count: z.int().min(0).default(0),
  push_options: pushOptions,
})

/** A push of a branch or a tag: the payloads are alike. */
function readPush(payload: unknown): Reading {
  const push = readPayload(pushEvent, payload)
  const moved = readMovedRef(push)
  if ('ignored' in moved) return moved
  const sha = push.checkout_sha ?? push.after
  const last = push.commits.find(({ id }) => id === sha) ?? push.commits.at(-1)
  return {
    ...nothing,
    ...moved,
    project: push.project.path_with_namespace,
    commit: sha,
    by: push.user_username ?? '',
    title: last?.title ?? last?.message?.title ?? push.message ?? '',
    skipped: skippedBy(push.push_options) ?? last?.message?.skipped,
    url: last?.url || (push.project.web_url ?? ''),
    push: { before: commitOrNone(push.before), after: push.after },
    paths: pathsOf(push),
  }
}

const skippedBy = (options: z.output<typeof pushOptions>) =>
  options?.ci?.skip === undefined ? undefined : 'it was pushed with ci.skip'

/** GitLab lists 20 commits at most, and for a new branch only some. */
function pathsOf(push: z.output<typeof pushEvent>): string[] | undefined {
  const { commits, total_commits_count: total, before } = push
  if (isNoCommit(before) || commits.length === 0 || commits.length < total) return undefined
  return changedPaths(commits)
}

const mergeRequest = z.object({
  iid: z.int().min(1),
  title: firstLine.default(''),
  source_branch: refName,
  source_project_id: z.int().optional(),
  target_project_id: z.int().optional(),
  last_commit: z.object({ id: commitSha, message: commitMessage.optional() }),
  action: payloadText(40).optional(),
  /** The commit before; only when new commits came. */
  oldrev: z.string().optional(),
  url: pageUrl.optional(),
})
const mergeRequestEvent = z.object({ project, user, object_attributes: mergeRequest })

/** Name and content of the branch of a fork are chosen by anybody who may fork. */
const isFork = ({
  source_project_id: from,
  target_project_id: to,
}: z.output<typeof mergeRequest>) => from === undefined || from !== to
const FORK = { ignored: 'merge requests from forks are not used' }

function readMergeRequest(payload: unknown): Reading {
  const {
    project: where,
    user: who,
    object_attributes: of,
  } = readPayload(mergeRequestEvent, payload)
  if (isFork(of)) return FORK
  const { action } = of
  const news = action === 'open' || action === 'reopen' || (action === 'update' && of.oldrev)
  if (!news) return { ignored: 'only merge requests that are opened, or get commits, are used' }
  return {
    ...nothing,
    kind: 'merge-request',
    ...requestFacts(where.path_with_namespace, who.username, of),
    skipped: of.last_commit.message?.skipped,
    request: { number: of.iid },
  }
}

function requestFacts(path: string, by: string, of: z.output<typeof mergeRequest>) {
  return {
    project: path,
    ref: of.source_branch,
    commit: of.last_commit.id,
    by,
    title: of.title,
    url: of.url ?? '',
  }
}

const noteEvent = z.object({
  project,
  user,
  object_attributes: z.object({
    note: payloadText(2000),
    noteable_type: payloadText(40),
    action: payloadText(40).optional(),
    system: z.boolean().optional(),
    url: pageUrl.optional(),
  }),
  merge_request: mergeRequest.optional(),
})

function readNote(payload: unknown): Reading {
  const note = readPayload(noteEvent, payload)
  const { noteable_type: on, action, system, url } = note.object_attributes
  const { merge_request: of } = note
  if (on !== 'MergeRequest' || of === undefined) {
    return { ignored: 'only comments on merge requests are used' }
  }
  if (isFork(of)) return FORK
  if (system || (action !== undefined && action !== 'create')) {
    return { ignored: 'only new comments of people are used' }
  }
  return {
    ...nothing,
    kind: 'comment',
    ...requestFacts(note.project.path_with_namespace, note.user.username, of),
    url: url || (of.url ?? ''),
    comment: note.object_attributes.note,
    request: { number: of.iid },
  }
}

const pipelineEvent = z.object({
  project,
  user: user.optional(),
  object_attributes: z.object({
    id: z.int().min(1),
    ref: refName,
    sha: commitSha,
    status: payloadText(40),
    url: pageUrl.optional(),
    variables: z.array(z.object({ key: z.string(), value: z.string().catch('') })).nullish(),
  }),
})

/** https://docs.gitlab.com/api/pipelines/: a skipped pipeline did nothing. */
const ends: ReadonlyMap<string, 'succeeded' | 'failed'> = new Map([
  ['success', 'succeeded'],
  ['failed', 'failed'],
  ['canceled', 'failed'],
  ['skipped', 'failed'],
])

function readPipeline(payload: unknown): Reading {
  const { project: where, user: who, object_attributes: of } = readPayload(pipelineEvent, payload)
  const end = ends.get(of.status)
  if (end === undefined) return { ignored: 'only pipelines that are over are used' }
  const mark = of.variables?.find(({ key }) => key === 'CROSSCLOUD_EVENT_ID')
  const page = where.web_url === undefined ? '' : `${where.web_url}/-/pipelines/${of.id}`
  return {
    ...nothing,
    kind: 'pipeline',
    project: where.path_with_namespace,
    ref: of.ref,
    commit: of.sha,
    by: who?.username ?? '',
    title: `pipeline ${of.id}: ${of.status}`,
    url: of.url || page,
    pipeline: { id: of.id, end, event: mark?.value ?? '' },
  }
}

const readers: Record<string, (payload: unknown) => Reading> = {
  push: readPush,
  tag_push: readPush,
  merge_request: readMergeRequest,
  note: readNote,
  pipeline: readPipeline,
}
