import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { deploy } from '../../src/steps/deploy.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { rollback } from '../../src/steps/rollback.ts'
import { listen, type Sandbox } from '../support/setups/sandbox.ts'

export type Life = ReturnType<typeof createLife>

/** Deploys webapi to test in this process, and looks its deployments up in the ledger. */
export function createLife(sandbox: Sandbox) {
  const put = async (version: string, more: object = {}, log = listen().log) => {
    const context = sandbox.context({ log })
    try {
      return await runStep(deploy, { release: `webapi@${version}`, env: 'test', ...more }, context)
    } finally {
      await context.close()
    }
  }
  const back = async (more: object = {}, log = listen().log) => {
    const context = sandbox.context({ log })
    try {
      return await runStep(rollback, { env: 'test', reason: 'orders fail', ...more }, context)
    } finally {
      await context.close()
    }
  }
  const greet = (text: string) =>
    writeFile(join(sandbox.folder, 'config/test.yaml'), `webapi:\n  greeting: ${text}\n`)
  const withLedger = async <T>(question: (ledger: Ledger) => Promise<T>) => {
    const context = sandbox.context()
    const found = await question(await context.ledger())
    await context.close()
    return found
  }
  const newest = (limit = 1) => withLedger((ledger) => ledger.deployments({ limit }))
  const markOf = (version: string) =>
    withLedger((ledger) => ledger.findMark('webapi', 'test', version))
  return { put, back, greet, withLedger, newest, markOf }
}
