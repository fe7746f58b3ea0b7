import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import type { OpenedApplication } from '../../../src/server/applications/applications.ts'
import { createPlanner } from '../../../src/server/runs/planner.ts'
import type { RunSubject } from '../../../src/server/runs/run.ts'
import type { Settings } from '../../../src/settings.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { until } from '../../support/until.ts'

const request = { app: 'webapi', step: 'deploy', environment: 'test', inputs: { env: 'test' } }
const LIMITS = { running: 1, waiting: 1, ofAddress: 10, timeout: 60_000 }

/** A program that hangs, and does not end when it is asked to. */
const HANGS = `
  process.on('SIGTERM', () => {})
  process.on('disconnect', () => process.exit(1))
  require('node:fs').writeFileSync('pid', String(process.pid))
  setInterval(() => {}, 1000)
`

async function hangingPlanner(t: Test, changes: Partial<typeof LIMITS> = {}) {
  const folder = await temporaryFolder(t)
  const program = join(folder, 'program.cjs')
  await writeFile(program, HANGS)
  const opened: OpenedApplication = {
    ...{ app: 'webapi', commit: 'c', folder, file: 'x.yml', variables: [], environment: {} },
    settings: {} as Settings,
    variablesFor: () => ({ HOME: folder }),
  }
  const planner = createPlanner(
    {
      applications: { names: ['webapi'], open: async () => opened },
      worker: { folder, program, variables: {}, log: silentLog, secrets: createSecrets() },
      urlOf: (run) => run,
    },
    { keepPlan: async (plan) => ({ ...plan, plan: 'p', expiresAt: '' }) },
    { ...LIMITS, ...changes },
  )
  const ask = (by: string, signal = new AbortController().signal) => {
    const subject: RunSubject = { kind: 'person', name: by, by, identity: 'https://i', names: [] }
    return planner(request, { subject, address: by, signal })
  }
  /** Of the process that makes the plan. */
  const pid = async () => {
    await until(async () => existsSync(join(folder, 'pid')), 10_000)
    return Number(await readFile(join(folder, 'pid'), 'utf8'))
  }
  return { ask, pid }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

t.test('a plan that hangs is ended by its time', async (t) => {
  const { ask, pid } = await hangingPlanner(t, { timeout: 2000 })
  const plan = ask('li')
  plan.catch(() => {})
  const child = await pid()
  await t.rejects(plan, { code: 'UNAVAILABLE', message: /not made within 2 s/ })
  t.notOk(isAlive(child), 'although it does not end when it is asked to')
})

t.test('a plan whose asker is gone is ended, and one that waits never begins', async (t) => {
  const { ask, pid } = await hangingPlanner(t)
  const [li, zhang, wang] = [1, 2, 3].map(() => new AbortController())
  const first = ask('li', li?.signal)
  first.catch(() => {})
  const child = await pid()
  await t.rejects(ask('li'), { details: { status: 429 }, message: /a plan of yours/ })
  const second = ask('zhang', zhang?.signal)
  second.catch(() => {})
  await t.rejects(ask('wang', wang?.signal), { message: /too many plans/ })
  zhang?.abort()
  await t.rejects(second, { code: 'CANCELLED' })
  li?.abort()
  await t.rejects(first, { code: 'CANCELLED' })
  t.notOk(isAlive(child))
})
