/**
 * A process of its own for workers.ts: `ledger-worker <url> <task> <count>`. It waits for a
 * line on stdin, so that all begin at once, and prints its result as JSON.
 */
import { once } from 'node:events'
import { isStepError } from '../../../src/core/errors.ts'
import type { Ledger } from '../../../src/ledger/ledger.ts'
import { openLedger } from '../../../src/ledger/open.ts'

const [url = '', task = '', count = '1'] = process.argv.slice(2)

const tasks: Record<string, (ledger: Ledger) => Promise<unknown>> = {
  async allot(ledger) {
    const versions: string[] = []
    for (let i = 0; i < Number(count); i++) versions.push(await ledger.nextVersion('webapi'))
    return versions
  },
  /** Reports when each lock was surely held: from after it was taken to before it was given back. */
  async fight(ledger) {
    const held: { token: number; from: number; to: number }[] = []
    while (held.length < Number(count)) {
      try {
        const lock = await ledger.lock('webapi', 'test', `process ${process.pid}`, 'fight', 60_000)
        const from = Date.now()
        await new Promise((resolve) => setTimeout(resolve, 3))
        held.push({ token: lock.token, from, to: Date.now() })
        await ledger.unlock(lock)
      } catch (error) {
        if (!isStepError(error, 'CONFLICT')) throw error
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    return held
  },
  /** Writes into the audit log as fast as it can; the milliseconds that each took. */
  async audit(ledger) {
    const took: number[] = []
    for (let i = 0; i < Number(count); i++) {
      const begin = performance.now()
      await ledger.recordAudit({
        subject: `process-${process.pid}`,
        via: 'session',
        verb: 'deploy',
        object: { app: 'webapi', environment: 'test', text: `webapi@1.0.${i}` },
        decision: 'allowed',
        rule: 'grants[2]',
        address: '192.0.2.7',
      })
      took.push(performance.now() - begin)
    }
    return took
  },
  /** Takes a lock and starts a deployment, then dies as a killed job does. */
  async die(ledger) {
    await ledger.lock('webapi', 'test', 'the dead', 'gone', 600_000)
    process.kill(process.pid, 'SIGKILL')
    await new Promise(() => {})
  },
}

process.stdout.write('ready\n')
await once(process.stdin, 'data')
process.stdin.destroy()
const ledger = await openLedger(url)
const result = await tasks[task]?.(ledger)
await ledger.close()
process.stdout.write(`${JSON.stringify(result)}\n`)
