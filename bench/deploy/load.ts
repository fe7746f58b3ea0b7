import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** Requests a second; every third is a POST, every tenth takes 3 s, every second keeps its connection. */
const RATE = 150
const SLOW = 3000
const USERS = 10
/** milliseconds a user reads before the next page */
const READING = 300
const TIMEOUT = 60_000

export interface Sent {
  id: string
  method: 'GET' | 'POST'
  slow: boolean
  keepAlive: boolean
  /** As Date.now(). */
  at: number
  took: number
  status: number | undefined
  error: string | undefined
  /** What was responded: the release. */
  text: string
}

export interface Load {
  sent: readonly Sent[]
  /** Each time a logged-in user was not known any more. */
  lostSessions: readonly string[]
  /** Pages of users that no server responded to as it should. */
  failedVisits: readonly string[]
  visits(): number
  /** Sends no more, and waits for every response. */
  stop(): Promise<void>
}

/** Where a proxy listens. */
export interface Endpoint {
  host: string
  port: number
}

/** Visitors, until they are stopped; `run` makes their ids unique. */
export async function startLoad(run: string, at: Endpoint): Promise<Load> {
  const agent = new Agent({ keepAlive: true })
  const sent: Sent[] = []
  const open = new Set<Promise<unknown>>()
  const started = Date.now()
  let count = 0
  const send = () => {
    for (; count < ((Date.now() - started) / 1000) * RATE; count++) {
      const visit = visitOnce(`${run}-${count}`, count, at, agent)
      const known = visit.then((done) => void sent.push(done))
      open.add(known)
      void known.then(() => open.delete(known))
    }
  }
  const timer = setInterval(send, 10)
  const users = await startUsers(at)
  return {
    sent,
    ...users,
    async stop() {
      clearInterval(timer)
      await users.stop()
      while (open.size > 0) await Promise.all(open)
      agent.destroy()
    },
  }
}

async function visitOnce(id: string, count: number, to: Endpoint, agent: Agent): Promise<Sent> {
  const method = count % 3 === 0 ? 'POST' : 'GET'
  const slow = count % 10 === 7
  const keepAlive = count % 2 === 0
  const at = Date.now()
  const path = `/order?id=${id}${slow ? `&ms=${SLOW}` : ''}`
  const { status, error, text } = await ask({ ...to, method, path }, keepAlive ? agent : false)
  return { id, method, slow, keepAlive, at, took: Date.now() - at, status, error, text }
}

interface Asked extends Endpoint {
  method: string
  path: string
  cookies?: string
  /** milliseconds */
  timeout?: number
}

interface Response {
  status: number | undefined
  error: string | undefined
  text: string
  cookies: readonly string[]
}

/** Never rejects: what went wrong is in `error`. */
export function ask(
  { method, host, port, path, cookies, timeout = TIMEOUT }: Asked,
  agent: Agent | false,
): Promise<Response> {
  return new Promise((resolve) => {
    const failed = (error: Error & { code?: string }) =>
      resolve({ status: undefined, error: error.code ?? error.message, text: '', cookies: [] })
    const headers = cookies ? { cookie: cookies } : {}
    const options = { method, host, port, path, agent, headers, timeout }
    const asked = request(options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', failed)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const cookies = response.headers['set-cookie'] ?? []
        resolve({ status: response.statusCode, error: undefined, text, cookies })
      })
    })
    asked.on('timeout', () => asked.destroy(new Error('timeout')))
    asked.on('error', failed)
    asked.end()
  })
}

/** People who log in once, and look at one page after the other. */
async function startUsers(at: Endpoint) {
  const lostSessions: string[] = []
  const failedVisits: string[] = []
  let visits = 0
  let isOver = false
  const agent = new Agent({ keepAlive: true })
  const user = async () => {
    const cookies = new Map<string, string>()
    let seen = 0
    const visit = async (method: string, path: string) => {
      const held = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
      const response = await ask({ ...at, method, path, cookies: held }, agent)
      for (const cookie of response.cookies) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
        cookies.set(name, value)
      }
      return response
    }
    const logIn = () => visit('POST', '/login')
    await logIn()
    while (!isOver) {
      const { status, error, text } = await visit('GET', '/me')
      visits++
      // The session counts this user's pages: it may not go back.
      const isKnown = status === 200 && Number(text) > seen
      if (isKnown) seen = Number(text)
      else if (status === 200 || status === 401) {
        lostSessions.push(`session lost: HTTP ${status}, page ${text} after ${seen}`)
        await logIn()
        seen = 0
      } else failedVisits.push(`page of a user: ${error ?? `HTTP ${status}`}`)
      await sleep(READING)
    }
  }
  const work = Promise.all(Array.from({ length: USERS }, user))
  return {
    lostSessions,
    failedVisits,
    visits: () => visits,
    async stop() {
      isOver = true
      await work
      agent.destroy()
    },
  }
}

/** milliseconds, both */
const PROBING = 10
const PROBE_TIMEOUT = 250

/** Asks one address again and again, each time on a new connection. */
export function startProbe(host: string, port: number) {
  const good: { at: number; ended: number; text: string }[] = []
  let isOver = false
  const work = (async () => {
    while (!isOver) {
      const at = Date.now()
      const probe = { method: 'GET', host, port, path: '/health', timeout: PROBE_TIMEOUT }
      const { status, text } = await ask(probe, false)
      if (status === 200) good.push({ at, ended: Date.now(), text })
      await sleep(PROBING)
    }
  })()
  return {
    good,
    async stop() {
      isOver = true
      await work
    },
  }
}
