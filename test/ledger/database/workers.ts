import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import type { Test } from 'tap'

interface Worker {
  ready: Promise<unknown>
  go(): void
  result: Promise<string>
  exit: Promise<unknown[]>
  kill(): void
}

/**
 * Processes that use a ledger. The worker is plain JavaScript: many start at once, and tap's own loader takes
 * seconds each.
 */
export function buildWorkers(t: Test) {
  const script = join(t.testdir({}), 'ledger-worker.mjs')
  buildSync({
    entryPoints: [fileURLToPath(new URL('ledger-worker.ts', import.meta.url))],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  })

  /** A process that waits for a signal to go. */
  function startWorker(t: Test, url: string, task: string, count: number): Worker {
    const child = spawn(process.execPath, [script, url, task, String(count)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    const lines = createInterface(child.stdout)
    const nextLine = async () => String((await once(lines, 'line'))[0])
    const ready = nextLine()
    return {
      ready,
      go: () => child.stdin.end('go\n'),
      result: ready.then(nextLine),
      exit: once(child, 'exit'),
      kill: () => child.kill('SIGKILL'),
    }
  }

  async function race<T>(t: Test, url: string, task: string, counts: number[]): Promise<T[]> {
    const workers = counts.map((count) => startWorker(t, url, task, count))
    await Promise.all(workers.map((worker) => worker.ready))
    for (const worker of workers) worker.go()
    const results = await Promise.all(workers.map((worker) => worker.result))
    return results.map((text) => JSON.parse(text) as T)
  }

  return { startWorker, race }
}
