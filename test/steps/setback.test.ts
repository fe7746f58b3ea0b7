import t from 'tap'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { warnOfSetback } from '../../src/steps/setback.ts'
import type { Context } from '../../src/steps/step.ts'
import { release } from '../ledger/ledger-samples.ts'

t.test(
  'a release older than the one that runs is warned of, by the order of the ledger',
  async (t) => {
    const releases = ['1.0.2', '1.0.1', '1.0.0'].map((version) => release(version))
    const warned = async (version: string, running?: string) => {
      const behind = releases.findIndex((one) => one.version === running)
      const ledger = {
        status: async () => [{ current: running && { version: running }, behind }],
        releases: async (_app: string, limit: number) => releases.slice(0, limit),
      } as unknown as Ledger
      const lines: string[] = []
      const log = { warn: (line: string) => lines.push(line) }
      const context = { ledger: async () => ledger, log } as unknown as Context
      await warnOfSetback(release(version), 'staging', context)
      return lines
    }
    t.strictSame(await warned('1.0.0', '1.0.1'), [
      'webapi@1.0.1 runs there, released after webapi@1.0.0: this sets staging back',
    ])
    t.strictSame(await warned('1.0.2', '1.0.1'), [])
    t.strictSame(await warned('1.0.1', '1.0.1'), [])
    t.strictSame(await warned('1.0.1'), [])
  },
)
