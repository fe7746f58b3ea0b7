import type { Cluster, Redis } from 'ioredis'
import { isStepError, StepError, toStepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { type CallAnswer, call } from './http.ts'
import { keyPrefix } from './queue/events.ts'

/** One try of GitLab's to deliver something, as the log of its webhook has it. */
export interface DeliveryLog {
  id: number
  trigger: string
  /** A status, or `internal error` when nobody answered. */
  response_status: string
  request_data?: { ref?: string } | null
}

export interface CatchUpOptions {
  gitlab: { url: string; token: string }
  /** Whole names. */
  projects: readonly string[]
  client: Redis | Cluster
  /** Of the queue. */
  name: string
  log: Log
  signal: AbortSignal
}

const EVERY = 60_000
/** GitLab keeps its log for a week. */
const WEEK = 8 * 24 * 3_600_000
/** GitLab gives no more than 20 a page. */
const PAGE = 20
const MOST_PAGES = 5

/**
 * Asks GitLab, now and every minute, to send again what it could not deliver: while all servers are
 * down it gives up after one try. Of several servers one asks.
 */
export function startCatchUp(options: CatchUpOptions): () => void {
  const { client, name, log } = options
  const redis = client as Redis
  const key = (what: string) => `${keyPrefix(name)}:${what}`
  let told = ''
  const look = async () => {
    if ((await redis.set(key('catch-up'), '1', 'PX', EVERY * 0.9, 'NX')) === null) return
    for (const project of options.projects) {
      const sent = await catchUp(project, options, async (id, ask) => {
        const known = key(`resent:${id}`)
        if ((await redis.set(known, '1', 'PX', WEEK, 'NX')) === null) return false
        await ask().catch(async (error: unknown) => {
          await redis.del(known)
          throw error
        })
        return true
      })
      if (sent > 0) log.info(`${project}: GitLab was asked to send ${sent} missed deliveries again`)
    }
  }
  const run = () =>
    look().catch((error: unknown) => {
      const { message } = toStepError(error)
      if (message !== told) log.warn(`catching up: ${message}`)
      told = message
    })
  void run()
  const timer = setInterval(run, EVERY)
  return () => clearInterval(timer)
}

/** Runs `ask` unless that was done before. */
type Once = (id: number, ask: () => Promise<unknown>) => Promise<boolean>

async function catchUp(project: string, options: CatchUpOptions, once: Once): Promise<number> {
  const path = `projects/${encodeURIComponent(project)}/hooks`
  const what = `reading the webhooks of ${project}`
  const hooks = listOf(await ask(`${path}?per_page=100`, what, options))
  let sent = 0
  for (const hook of hooks.filter(isOurs)) {
    const logs = await readLogs(`${path}/${hook.id}/events`, what, options)
    for (const id of missed(logs)) {
      const resend = () =>
        ask(
          `${path}/${hook.id}/events/${id}/resend`,
          `sending ${id} of ${project} again`,
          options,
          'POST',
        )
      try {
        if (await once(id, resend)) sent++
      } catch (error) {
        // GitLab resends five a minute; the rest follows then.
        if (isStepError(error, 'UNAVAILABLE')) return sent
        throw error
      }
    }
  }
  return sent
}

async function readLogs(path: string, what: string, options: CatchUpOptions) {
  const logs: DeliveryLog[] = []
  for (let page = 1; page <= MOST_PAGES; page++) {
    const some = listOf(await ask(`${path}?per_page=${PAGE}&page=${page}`, what, options))
    logs.push(...(some as unknown as DeliveryLog[]))
    if (some.length < PAGE) break
  }
  return logs
}

/**
 * What to send again, oldest first: pushes that got no answer, or a fault of the server, and of whose
 * branch nothing newer came through. An old commit must not be delivered over a newer one.
 */
export function missed(logs: readonly DeliveryLog[]): number[] {
  const newestFirst = logs
    .filter(({ trigger, request_data: data }) => /^(?:tag_)?push_hooks$/.test(trigger) && data?.ref)
    .toSorted((a, b) => b.id - a.id)
  const through = new Set<string>()
  const found: number[] = []
  for (const { id, response_status: status, request_data: data } of newestFirst) {
    const ref = data?.ref ?? ''
    // 4xx was our own word: it would be the same again.
    if (/^[234]\d\d$/.test(status)) through.add(ref)
    else if (!through.has(ref)) found.push(id)
  }
  return found.reverse()
}

const isOurs = ({ url }: Record<string, unknown>) =>
  typeof url === 'string' && /\/webhooks\/gitlab\/?$/.test(url)

const listOf = (answer: CallAnswer): Record<string, unknown>[] => {
  const value = answer.json()
  if (Array.isArray(value)) return value
  throw new StepError('UNAVAILABLE', 'GitLab tells no list of webhooks; is gitlab.url its address?')
}

function ask(
  path: string,
  what: string,
  { gitlab: { url, token }, signal }: CatchUpOptions,
  method: 'GET' | 'POST' = 'GET',
): Promise<CallAnswer> {
  return call({
    ...{ what, server: 'GitLab', signal, method, headers: { 'private-token': token } },
    url: `${url.replace(/\/$/, '')}/api/v4/${path}`,
  })
}
