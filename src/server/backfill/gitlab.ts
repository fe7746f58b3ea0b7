import { z } from 'zod'
import { isStepError, StepError, toStepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { type CallResponse, call } from '../platforms/http.ts'
import {
  commitMessage,
  commitOrNone,
  commitSha,
  firstLine,
  pageUrl,
  payloadText,
  refName,
} from '../sources/source.ts'
import { LOOK_BACK, type PushFeed, type PushRecord, projectsOf } from './feed.ts'

/** The activity of a project (https://docs.gitlab.com/api/events/), independent of webhooks. */
export function createGitlabFeed(
  { http, url, token }: { http: HttpClient; url: string; token: string },
  patterns: readonly string[],
): PushFeed {
  const askAbout =
    (project: string, signal: AbortSignal): Ask =>
    (what, path, method) =>
      call({
        http,
        what: `${what} of ${project}`,
        server: 'GitLab',
        signal,
        method: method ?? 'GET',
        url: `${url.replace(/\/$/, '')}/api/v4/projects/${encodeURIComponent(project)}/${path}`,
        headers: { 'private-token': token },
      })
  return {
    source: 'gitlab',
    ...projectsOf(patterns),
    read: (project, signal) => readPushes(askAbout(project, signal)),
    describe: (project, sha, signal) => readCommit(askAbout(project, signal), sha),
    wake: (project, signal) => wakeHooks(askAbout(project, signal)),
  }
}

/** One request about a project. */
type Ask = (what: string, path: string, method?: 'POST') => Promise<CallResponse>

const event = z.object({
  id: z.int().min(1),
  created_at: z.iso.datetime({ offset: true }),
  author_username: payloadText(255).nullish(),
  // A push of many refs has a count and no names; GitLab sends no webhook for it, either.
  push_data: z
    .object({
      ref_type: z.enum(['branch', 'tag']),
      ref: refName,
      commit_from: commitSha.nullish(),
      commit_to: commitSha.nullish(),
    })
    .optional()
    .catch(undefined),
})
const PAGE = 100
const MOST_PAGES = 50

async function* readPushes(ask: Ask): AsyncIterable<PushRecord> {
  const after = new Date(Date.now() - LOOK_BACK).toISOString().slice(0, 10)
  for (let page = 1; page <= MOST_PAGES; page++) {
    const query = `action=pushed&after=${after}&per_page=${PAGE}&page=${page}`
    const events = (await ask('reading the pushes', `events?${query}`)).read(z.array(event))
    for (const { id, created_at, author_username: by, push_data: push } of events) {
      if (!push) continue
      yield {
        id,
        at: Date.parse(created_at),
        ref: push.ref,
        by: by ?? '',
        kind: push.ref_type === 'tag' ? 'tag' : 'push',
        before: commitOrNone(push.commit_from),
        after: commitOrNone(push.commit_to),
      }
    }
    if (events.length < PAGE) return
  }
}

const commit = z.object({
  id: commitSha,
  title: firstLine.default(''),
  message: commitMessage.optional(),
  web_url: pageUrl,
})

async function readCommit(ask: Ask, sha: string) {
  const response = await ask(`reading commit ${sha}`, `repository/commits/${sha}?stats=false`)
  const { id, title, message, web_url: url } = response.read(commit)
  return { commit: id, title, skipped: message?.skipped, url }
}

const hooks = z.array(
  z.object({ id: z.int(), url: z.string(), alert_status: z.string().default('executable') }),
)

/**
 * After four failures GitLab delivers nothing for a minute, and at last for a day; it does not even
 * log what is pushed meanwhile. A successful test ends that; this test event starts nothing here.
 * https://docs.gitlab.com/user/project/integrations/webhooks/#auto-disabled-webhooks
 */
async function wakeHooks(ask: Ask): Promise<number> {
  const all = (await ask('reading the webhooks', 'hooks?per_page=100')).read(hooks)
  const stopped = all.filter(
    ({ url, alert_status: status }) =>
      /\/webhooks\/gitlab\/?$/.test(url) && status !== 'executable',
  )
  for (const { id } of stopped) {
    await ask(
      `testing webhook ${id}`,
      `hooks/${id}/test/resource_access_token_events`,
      'POST',
    ).catch((error: unknown) => {
      throw isStepError(error, 'CANCELLED') ? error : staysStopped(error)
    })
  }
  return stopped.length
}

function staysStopped(cause: unknown): StepError {
  const message = `GitLab has stopped the webhook after failures; ${toStepError(cause).message}`
  return new StepError('CONFLICT', message, {
    hint: 'Press Test on its page, under Settings > Webhooks.',
    cause,
  })
}
