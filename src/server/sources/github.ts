import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import {
  anySignature,
  changedPaths,
  commitMessage,
  commitOrNone,
  commitSha,
  type Delivery,
  firstLine,
  header,
  pageUrl,
  payloadText,
  projectPath,
  type Reading,
  readMovedRef,
  readPayload,
  refName,
  type Source,
  sha256Hex,
} from './source.ts'

/** Webhooks of GitHub (https://docs.github.com/webhooks/webhook-events-and-payloads). */
export function createGithubSource({ secrets }: { secrets: readonly string[] }): Source {
  return {
    signed: () => true,
    authenticate({ headers, body }: Delivery) {
      const signature = header(headers, 'x-hub-signature-256')
      if (signature === undefined) return { refused: 'missing' }
      const [scheme, given = ''] = signature.split('=', 2)
      if (scheme !== 'sha256') return { refused: 'wrong' }
      // The signature does not cover X-GitHub-Delivery, and a second webhook or a redelivery sends
      // the same content with another one.
      return anySignature(given, secrets, 'hex', body)
        ? { id: sha256Hex(body), timeless: true }
        : { refused: 'wrong' }
    },
    read,
  }
}

function read(headers: IncomingHttpHeaders, payload: unknown): Reading {
  // Gitea also sends GitHub's headers.
  if (header(headers, 'x-gitea-event') !== undefined) throw isOfGitea()
  const event = header(headers, 'x-github-event') ?? ''
  const known = Object.hasOwn(readers, event) ? readers[event] : undefined
  if (known) return known(payload)
  const name = readPayload(payloadText(40), event)
  return { ignored: `events of kind ${name || 'none'} are not used` }
}

function isOfGitea(): StepError {
  return new StepError(
    'INPUT_INVALID',
    'this is a delivery of Gitea; its address is /webhooks/gitea',
    {
      hint: 'Write gitea in crosscloud.server.yml, as docs/webhooks.md has it.',
    },
  )
}

const repository = z.object({ full_name: projectPath, html_url: pageUrl.optional() })
const sender = z.object({ login: payloadText(255) })
const nothing = { source: 'github', via: 'github', ref: '', commit: '', by: '', title: '' } as const

const files = z.array(z.string()).nullish()
const pushEvent = z.object({
  repository,
  sender: sender.optional(),
  ref: z.string().max(300),
  before: commitSha,
  after: commitSha,
  created: z.boolean().optional(),
  forced: z.boolean().optional(),
  compare: pageUrl.optional(),
  total_commits: z.int().min(0).optional(),
  head_commit: z.object({ id: commitSha.optional(), message: commitMessage.optional() }).nullish(),
  commits: z.array(z.object({ added: files, modified: files, removed: files })).default([]),
})

function readPush(payload: unknown): Reading {
  const push = readPayload(pushEvent, payload)
  const moved = readMovedRef(push)
  if ('ignored' in moved) return moved
  return {
    ...nothing,
    ...moved,
    project: push.repository.full_name,
    // An annotated tag points to an object of its own.
    commit: (moved.kind === 'tag' && push.head_commit?.id) || push.after,
    by: push.sender?.login ?? '',
    title: '',
    ...push.head_commit?.message,
    url: push.compare || (push.repository.html_url ?? ''),
    push: { before: commitOrNone(push.before), after: push.after },
    paths: pathsOf(push),
  }
}

/** Older servers list no more, and do not send the total. */
const MOST_COMMITS = 20

function pathsOf(push: z.output<typeof pushEvent>): string[] | undefined {
  const { commits, created, forced, total_commits: total = commits.length } = push
  const partly = commits.length === 0 || commits.length < total || commits.length >= MOST_COMMITS
  if (partly || created || forced) return undefined
  return changedPaths(commits)
}

const pullRequestEvent = z.object({
  action: payloadText(40),
  repository,
  sender,
  pull_request: z.object({
    number: z.int().min(1),
    title: firstLine,
    html_url: pageUrl.optional(),
    head: z.object({ ref: refName, sha: commitSha, repo: repository.nullish() }),
  }),
})

/** Actions that bring commits to build. */
const news = new Set(['opened', 'reopened', 'synchronize'])

const WITHOUT_BRANCH = {
  ignored: 'pull requests without a branch of the repository are not used',
}

/** Of GitHub or Gitea, which name the actions that bring commits differently. */
export function readPullRequest(payload: unknown, news: ReadonlySet<string>): Reading {
  const {
    action,
    repository: where,
    sender: who,
    pull_request: of,
  } = readPayload(pullRequestEvent, payload)
  // Name and content of the branch of a fork are chosen by anybody who may fork.
  if (of.head.repo?.full_name !== where.full_name) {
    return { ignored: 'pull requests from forks are not used' }
  }
  // AGit: anybody who may read a repository of Gitea may push to refs/for/, which becomes refs/pull/5/head.
  if (of.head.ref.startsWith('refs/')) return WITHOUT_BRANCH
  if (!news.has(action)) {
    return { ignored: 'only pull requests that are opened, or get commits, are used' }
  }
  return {
    ...nothing,
    kind: 'merge-request',
    project: where.full_name,
    ref: of.head.ref,
    commit: of.head.sha,
    by: who.login,
    title: of.title,
    url: of.html_url ?? '',
    request: { number: of.number },
  }
}

const commentEvent = z.object({
  action: payloadText(40),
  repository,
  sender,
  issue: z.object({
    number: z.int().min(1),
    title: firstLine,
    pull_request: z.unknown().optional(),
  }),
  comment: z.object({
    body: payloadText(2000),
    html_url: pageUrl.optional(),
    author_association: payloadText(40).optional(),
  }),
})

/** https://docs.github.com/en/graphql/reference/enums#commentauthorassociation */
const members = new Set(['OWNER', 'MEMBER', 'COLLABORATOR'])

function readComment(payload: unknown): Reading {
  const {
    action,
    repository: where,
    sender: author,
    issue,
    comment,
  } = readPayload(commentEvent, payload)
  if (!issue.pull_request) return { ignored: 'only comments on pull requests are used' }
  if (action !== 'created') return { ignored: 'only new comments are used' }
  if (!members.has(comment.author_association ?? ''))
    return { ignored: 'only comments of members are used' }
  return {
    ...nothing,
    kind: 'comment',
    project: where.full_name,
    by: author.login,
    title: issue.title,
    url: comment.html_url ?? '',
    comment: comment.body,
    request: { number: issue.number },
  }
}

const runEvent = z.object({
  action: payloadText(40),
  repository,
  sender: sender.optional(),
  workflow_run: z.object({
    id: z.int().min(1),
    event: payloadText(40).optional(),
    head_branch: refName.nullish(),
    head_sha: commitSha,
    conclusion: payloadText(40).nullish(),
    display_title: firstLine.nullish(),
    html_url: pageUrl.optional(),
  }),
})

/** A run has the id of the event that started it in its run-name: docs/webhooks.md. */
const EVENT_MARK = /\b[0-9a-z]{9}[0-9a-f]{12}\b/

/** A skipped run did nothing. */
const good = new Set(['success', 'neutral'])

/** Of GitHub or Gitea. */
export function readRun(payload: unknown): Reading {
  const {
    action,
    repository: where,
    sender: who,
    workflow_run: of,
  } = readPayload(runEvent, payload)
  if (action !== 'completed') return { ignored: 'only completed workflow runs are used' }
  const conclusion = of.conclusion ?? ''
  const end = good.has(conclusion) ? 'succeeded' : 'failed'
  // The title of other runs is that of a commit or a pull request, and may contain anything.
  const title = of.event === 'workflow_dispatch' ? (of.display_title ?? '') : ''
  return {
    ...nothing,
    kind: 'pipeline',
    project: where.full_name,
    ref: of.head_branch ?? '',
    commit: of.head_sha,
    by: who?.login ?? '',
    title: `workflow run ${of.id}: ${conclusion}`,
    url: of.html_url ?? '',
    pipeline: { id: of.id, end, event: EVENT_MARK.exec(title)?.[0] ?? '' },
  }
}

const readers: Record<string, (payload: unknown) => Reading> = {
  ping: () => ({ ignored: 'ping' }),
  push: readPush,
  pull_request: (payload) => readPullRequest(payload, news),
  issue_comment: readComment,
  workflow_run: readRun,
}
