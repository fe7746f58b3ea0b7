import { Redis } from 'ioredis'
import { wait } from '../../src/core/retry.ts'
import { accessQueue } from '../../src/server/queue/access.ts'
import { openLineWriter } from '../../src/server/runs/lines.ts'
import { type BenchServer, percentile } from '../api.ts'

const FOLLOWERS = 100
const LINES = 500
/** Milliseconds between two lines. */
const PAUSE = 20

/** From when a worker has a line to when each follower has it. */
export async function measureFollowers({ url, token, tokens, ledger, redis }: BenchServer) {
  const lock = await ledger.lock('webapi', 'test', 'somebody', 'a bench', 600_000)
  const authorization = `Bearer ${token}`
  const inputs = { release: 'webapi@1.0.0', env: 'test', lockWait: '5m', older: true }
  const answer = await fetch(`${url}/api/v1/runs`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ app: 'webapi', step: 'deploy', inputs }),
  })
  const { run } = (await answer.json()) as { run: string }
  const delays: number[] = []
  const ending = new AbortController()
  const followers = Array.from({ length: FOLLOWERS }, (_, number) => {
    const own = `Bearer ${tokens[number % tokens.length]}`
    const options = { authorization: own, signal: ending.signal, delays }
    return follow(`${url}/api/v1/runs/${run}/lines`, options)
  })
  await wait(2000)
  const client = new Redis(redis.url)
  const writer = openLineWriter(
    accessQueue(client, { server: redis.url, name: 'crosscloud', dedupeWindow: 1, retention: 1 }),
    run,
  )
  for (let line = 0; line < LINES; line++) {
    writer.add({
      at: new Date().toISOString(),
      level: 'info',
      text: `sent ${Date.now()}`,
      depth: 0,
    })
    await wait(PAUSE)
  }
  await writer.end()
  await wait(1000)
  ending.abort()
  await Promise.all(followers)
  client.disconnect()
  await ledger.unlock(lock)
  const [p50, p99] = [percentile(delays, 0.5), percentile(delays, 0.99)]
  return { followers: FOLLOWERS, lines: LINES, received: delays.length, p50, p99 }
}

interface Following {
  authorization: string
  signal: AbortSignal
  delays: number[]
}

async function follow(url: string, { authorization, signal, delays }: Following): Promise<void> {
  try {
    const response = await fetch(url, { headers: { authorization }, signal })
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`)
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      const now = Date.now()
      const text = decoder.decode(chunk as Uint8Array, { stream: true })
      for (const [, sent] of text.matchAll(/"sent (\d+)"/g)) delays.push(now - Number(sent))
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
