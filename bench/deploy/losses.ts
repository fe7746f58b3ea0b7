import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Load, Sent } from './load.ts'

export interface Losses {
  sent: number
  failed: number
  resets: number
  posts: number
  postsTwice: number
  postsNever: number
  visits: number
  failedVisits: number
  lostSessions: number
  slowest: number
  /** What went wrong, and how often. */
  errors: Record<string, number>
}

/** @param counts the folder of the ids that were executed */
export async function lossesOf(load: Load, counts: string): Promise<Losses> {
  const executed = await readExecuted(counts)
  const { sent, lostSessions, failedVisits } = load
  const posts = sent.filter(({ method }) => method === 'POST')
  const times = posts.map(({ id }) => executed.get(id) ?? 0)
  const failed = sent.filter(({ status }) => status !== 200)
  const errors: Record<string, number> = {}
  for (const each of failed) errors[nameOf(each)] = (errors[nameOf(each)] ?? 0) + 1
  for (const each of [...lostSessions, ...failedVisits]) errors[each] = (errors[each] ?? 0) + 1
  return {
    sent: sent.length,
    failed: failed.length,
    resets: failed.filter(({ error }) => error === 'ECONNRESET').length,
    posts: posts.length,
    postsTwice: times.filter((count) => count > 1).length,
    postsNever: times.filter((count) => count === 0).length,
    visits: load.visits(),
    failedVisits: failedVisits.length,
    lostSessions: lostSessions.length,
    slowest: sent.reduce((slowest, { took }) => Math.max(slowest, took), 0),
    errors,
  }
}

const nameOf = ({ method, slow, status, error }: Sent) =>
  `${slow ? 'slow ' : ''}${method}: ${error ?? `HTTP ${status}`}`

/** How often each id was executed. */
async function readExecuted(folder: string): Promise<Map<string, number>> {
  const executed = new Map<string, number>()
  for (const name of await readdir(folder)) {
    for (const id of (await readFile(join(folder, name), 'utf8')).split('\n')) {
      executed.set(id, (executed.get(id) ?? 0) + 1)
    }
  }
  return executed
}
