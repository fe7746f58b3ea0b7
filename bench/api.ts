import { readFile } from 'node:fs/promises'
import autocannon from 'autocannon'
import { table } from '../src/cli/output.ts'
import { StepError } from '../src/core/errors.ts'
import { noEngine } from '../test/support/servers/engine.ts'
import { startStepServer } from '../test/support/setups/step-server.ts'
import { measureFollowers } from './api/followers.ts'
import { median, time } from './measure.ts'

/** Milliseconds at the 99th percentile; and those that a deployment may take longer over HTTP. */
const GOAL = { decision: 20, line: 200, remote: 300 }
const RUNS = 1000
const ROUNDS = 5
const CLIENTS = 6

export type BenchServer = Awaited<ReturnType<typeof startStepServer>> & {
  /** One subject may follow twenty logs. */
  tokens: readonly string[]
  token: string
}

/** Steps over HTTP: what a decision, a queue of runs, its logs and a deployment cost. */
export async function benchApi() {
  const missing = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
  if (missing) throw new StepError('COMMAND_FAILED', `this bench ${missing}`)
  const teardowns: (() => unknown)[] = []
  const t = { teardown: (work: () => unknown) => void teardowns.push(work) }
  try {
    const names = Array.from({ length: CLIENTS }, (_, number) => `bench-${number}`)
    const grants = names.map((name) => ({
      ...{ who: `token:${name}`, role: 'pipeline', apps: ['webapi'], envs: ['test'] },
    }))
    const world = await startStepServer(t as never, { listen: { rate: 10_000 }, grants })
    const tokens: string[] = []
    for (const name of names) tokens.push(await createToken(name, world))
    const server = { ...world, tokens, token: tokens[0] ?? '' }
    const remote = await measureDeployments(t as never, server)
    const decision = await measureDecisions(server)
    const memory = { before: await residentOf(server) }
    const followers = await measureFollowers(server)
    const queued = await measureQueue(server)
    const json = {
      goal: GOAL,
      ...{ decision, followers, queued, remote },
      memory: { ...memory, after: await residentOf(server) },
    }
    return { json, text: textOf(json) }
  } finally {
    for (const teardown of teardowns.reverse()) await teardown()
  }
}

async function createToken(
  name: string,
  { operator }: Pick<Awaited<ReturnType<typeof startStepServer>>, 'operator'>,
) {
  const verbs = ['view', 'logs', 'deploy', 'force'].flatMap((verb) => ['--verb', verb])
  const place = ['--app', 'webapi', '--env', 'test', '--expires', '1d']
  const { code, stdout, stderr } = await operator(['tokens', 'create', name, ...place, ...verbs])
  if (code !== 0) throw new StepError('COMMAND_FAILED', stderr)
  return stdout.trim()
}

/** Token → allowed or not, as many as come in 10 s over 20 connections at 200 a second. */
async function measureDecisions({ url, token }: BenchServer) {
  const request = { method: 'GET', headers: { authorization: `Bearer ${token}` } } as const
  const result = await autocannon({
    url: `${url}/api/v1/policy/decisions?verb=deploy&app=webapi&env=test`,
    requests: [request],
    ...{ connections: 20, duration: 10, overallRate: 200 },
  })
  const { latency, non2xx, errors, duration } = result
  const rate = result['2xx'] / duration
  return { rate, p50: latency.p50, p99: latency.p99, failed: non2xx + errors }
}

/** A thousand runs wait for one environment that is locked. */
async function measureQueue({ url, token, ledger }: BenchServer) {
  const lock = await ledger.lock('webapi', 'test', 'somebody', 'a bench', 600_000)
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const inputs = { release: 'webapi@1.0.0', env: 'test', lockWait: '10m', older: true }
  const body = JSON.stringify({ app: 'webapi', step: 'deploy', inputs })
  const times: number[] = []
  const seconds =
    (await time(async () => {
      for (let sent = 0; sent < RUNS; sent += 10) {
        await Promise.all(
          Array.from({ length: 10 }, async () => {
            const started = performance.now()
            const response = await fetch(`${url}/api/v1/runs`, { method: 'POST', headers, body })
            times.push(performance.now() - started)
            if (response.status !== 202) throw new Error(await response.text())
          }),
        )
      }
    })) / 1000
  await ledger.unlock(lock)
  return { runs: RUNS, rate: RUNS / seconds, p99: percentile(times, 0.99) }
}

/** Whole processes in pairs: a deployment that runs here, and one that the server runs. */
async function measureDeployments(t: never, server: BenchServer) {
  const { operator, token } = server
  const variables = { CROSSCLOUD_ID_TOKEN: '', CROSSCLOUD_TOKEN: token, GITLAB_CI: '' }
  const job = await server.job(t, {}, variables)
  const here: number[] = []
  const there: number[] = []
  const deploy = (number: number) => [
    ...['deploy', `webapi@1.0.${number % 2}`, '--env', 'test', '--older'],
  ]
  const must = async (run: () => Promise<{ code: number | null; stderr: string }>) => {
    const { code, stderr } = await run()
    if (code !== 0) throw new StepError('COMMAND_FAILED', stderr)
  }
  for (let round = 0; round <= ROUNDS; round++) {
    const local = await time(() => must(() => operator(deploy(2 * round))))
    const remote = await time(() => must(() => job.run(deploy(2 * round + 1))))
    // The first fills caches.
    if (round > 0) here.push(local)
    if (round > 0) there.push(remote)
  }
  const more = here.map((local, at) => (there[at] ?? Number.NaN) - local)
  return { local: median(here), remote: median(there), more: median(more) }
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** MiB, proc(5). */
async function residentOf({ pid }: BenchServer): Promise<number> {
  const status = await readFile(`/proc/${pid()}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
}

interface Results {
  goal: typeof GOAL
  decision: { rate: number; p50: number; p99: number; failed: number }
  followers: { followers: number; lines: number; received: number; p50: number; p99: number }
  queued: { runs: number; rate: number; p99: number }
  remote: { local: number; remote: number; more: number }
  memory: { before: number; after: number }
}

function textOf({ goal, decision, followers, queued, remote, memory }: Results): string {
  const ms = (value: number) => `${value.toFixed(1)} ms`
  return table(
    ['', 'measured', 'goal'],
    [
      ['decision, p99', `${ms(decision.p99)} (${decision.failed} failed)`, `${goal.decision} ms`],
      [
        `line to ${followers.followers} followers, p99`,
        `${ms(followers.p99)} (${followers.received} of ${followers.lines * followers.followers})`,
        `${goal.line} ms`,
      ],
      [`${queued.runs} runs queued`, `${queued.rate.toFixed(0)}/s, p99 ${ms(queued.p99)}`, ''],
      ['deployment here', ms(remote.local), ''],
      ['deployment on the server', ms(remote.remote), ''],
      ['more, in pairs', ms(remote.more), `${goal.remote} ms`],
      ['memory', `${memory.before.toFixed(0)} → ${memory.after.toFixed(0)} MiB`, 'flat'],
    ],
  )
}
