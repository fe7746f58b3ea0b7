import { Command } from 'commander'
import Libsql from 'libsql'
import t, { type Test } from 'tap'
import type { CommandResult } from '../../src/cli/command.ts'
import { addHostCommands } from '../../src/cli/hosts/group.ts'
import { toStepError } from '../../src/core/errors.ts'
import { openLedger } from '../../src/ledger/open.ts'
import { runHere } from '../support/program.ts'
import { noEngine } from '../support/servers/engine.ts'
import { createSandbox, listen, type Sandbox } from '../support/setups/sandbox.ts'

t.setTimeout(180_000)

const REVIEW =
  '  review: { image: "IMAGE", config: "file:config/test.yaml", hosts: { app-01: "ENGINE" }, container: { name: "webapi-review-${NUMBER}" } }'

/** The commands alone, with the real context. */
async function hosts(
  sandbox: Sandbox,
  args: readonly string[],
  options: { confirm?: (question: string) => Promise<boolean>; number?: string; env?: string } = {},
) {
  const { log, text } = listen()
  const { createContext } = await import('../../src/context.ts')
  const { createSecrets } = await import('../../src/core/secrets.ts')
  const program = new Command('crosscloud').exitOverride()
  let answer: CommandResult | undefined
  const printed: string[] = []
  const context = createContext({
    cwd: sandbox.folder,
    variables: {
      ...sandbox.variables,
      CROSSCLOUD_WORKER: 'true',
      GITLAB_USER_LOGIN: 'li',
      NUMBER: options.number ?? '1',
      ...(options.env && { CROSSCLOUD_ENV: options.env }),
    },
    log,
    secrets: createSecrets(),
    signal: new AbortController().signal,
  })
  addHostCommands(
    program,
    async (_command, work) => {
      answer = await work(context)
    },
    {
      person: { confirm: options.confirm, readInput: async () => '' },
      streams: { stdout() {}, stderr: (text) => printed.push(text) },
    },
  )
  try {
    await program.parseAsync(['hosts', ...args], { from: 'user' })
    return { text: answer?.text ?? '', json: answer?.json, log: text(), beside: printed.join('') }
  } catch (error) {
    const { code, message, hint } = toStepError(error)
    return { code, message, hint }
  } finally {
    await context.close()
  }
}

const names = async (sandbox: Sandbox) => {
  const all = await sandbox.engine.docker.listContainers({ all: true })
  return all.flatMap(({ Names }) => Names).sort()
}

async function deploy(t: Test, sandbox: Sandbox, env: string, number: string, release: string) {
  const said = await runHere(['deploy', '--env', env, '--release', release], {
    cwd: sandbox.folder,
    variables: { ...sandbox.variables, NUMBER: number },
  })
  t.equal(said.code, 0, said.all)
}

const skip = noEngine('docker-registry', 'gcc')
t.test('the former names list and change only our own containers', { skip }, async (t) => {
  const sandbox = await createSandbox(t)
  const { folder, engine } = sandbox
  const review = REVIEW.replace('IMAGE', sandbox.repository).replace('ENGINE', engine.address)
  await sandbox.configure('sqlite:ledger.db', review)
  // Its own variables must be there whenever crosscloud.yml is read.
  sandbox.variables.NUMBER = '1'
  await sandbox.release('1.0.0')
  await sandbox.release('1.0.1')
  await deploy(t, sandbox, 'test', '1', 'webapi@1.0.0')
  await deploy(t, sandbox, 'test', '1', 'webapi@1.0.1')
  await deploy(t, sandbox, 'review', '1', 'webapi@1.0.0')
  await deploy(t, sandbox, 'review', '2', 'webapi@1.0.1')
  // Somebody else's, with a name that begins like ours.
  const [ours] = await engine.docker.listContainers({ filters: { name: ['webapi-test'] } })
  const stranger = await engine.docker.createContainer({
    Image: ours?.ImageID ?? '',
    name: 'webapi-review-1.older',
  })

  t.match(await hosts(sandbox, ['list', '--env', 'test']), {
    text: /^host +address +answers\napp-01 +unix:.* +yes$/,
    json: { hosts: [{ host: 'app-01', answers: true }] },
  })
  t.match(await hosts(sandbox, ['containers', '--env', 'test']), {
    json: {
      containers: [
        { host: 'app-01', name: 'webapi-test', running: true, version: '1.0.1' },
        { name: 'webapi-test.previous', running: false, version: '1.0.0' },
      ],
    },
  })
  const both = await hosts(sandbox, ['containers'], { env: 'review' })
  t.match(both.text, /webapi-review-1 +1\.0\.0 +running.*\n.*webapi-review-2 +1\.0\.1/)
  t.match(await hosts(sandbox, ['logs', '--env', 'test', '--lines', '5']), {
    text: /^== webapi-test on app-01/,
    log: '',
    beside: 'warning: `hosts logs` is called `instances logs` now; the old name will go\n',
  })

  t.match(
    await hosts(sandbox, ['stop', '--env', 'test'], {
      confirm: async (question) => question !== 'Stop webapi-test on app-01?',
    }),
    { code: 'CANCELLED' },
  )
  t.match(await hosts(sandbox, ['stop', '--env', 'test']), {
    json: { stopped: [{ host: 'app-01', name: 'webapi-test' }] },
  })
  t.match(
    (await hosts(sandbox, ['containers', '--env', 'test'])).text,
    /webapi-test +1\.0\.1 +ended/,
  )
  t.match(await hosts(sandbox, ['start', '--env', 'test']), {
    text: '1 container was started.',
    log: /^(?!.*started webapi-test.*started webapi-test).*app-01: started webapi-test/s,
  })
  t.match((await hosts(sandbox, ['containers', '--env', 'test'])).text, /webapi-test +1\.0\.1 +run/)
  t.match(await hosts(sandbox, ['start', '--env', 'test']), {
    text: 'No container had to be started.',
    json: { started: [] },
  })

  const ledger = await openLedger(`${folder}/ledger.db`)
  t.teardown(() => ledger.close())
  const subject = 'webapi-test on app-01'
  t.match(await ledger.events({ limit: 9 }), [
    { action: 'instances start', subject, by: 'li', environment: 'test' },
    { action: 'instances stop', subject, by: 'li' },
  ])
  const broken = new Libsql(`${folder}/ledger.db`)
  broken.exec('ALTER TABLE audit_events RENAME TO elsewhere')
  t.match(await hosts(sandbox, ['stop', '--env', 'test']), {
    message: /recording "instances stop"/,
  })
  broken.exec('ALTER TABLE elsewhere RENAME TO audit_events')
  broken.close()
  const unchanged = await hosts(sandbox, ['containers', '--env', 'test'])
  t.match(unchanged.text, /webapi-test +1\.0\.1 +run/, 'what cannot be written is not done')
  const lock = await ledger.lock('webapi', 'review', 'wang', 'stocktaking', 60_000)
  t.match(await hosts(sandbox, ['rm', '--env', 'review', '--yes']), {
    code: 'CONFLICT',
    message: /wang.*stocktaking/,
  })
  await ledger.unlock(lock)
  t.match(await hosts(sandbox, ['rm', '--yes'], { env: 'review' }), {
    text: '1 container was removed.',
    log: /app-01: removed webapi-review-1/,
  })
  t.strictSame(
    await names(sandbox),
    ['/webapi-review-1.older', '/webapi-review-2', '/webapi-test', '/webapi-test.previous'],
    'neither another merge request nor a stranger is touched',
  )
  t.match(await hosts(sandbox, ['rm', '--env', 'review', '--yes']), {
    text: 'Nothing was there.',
  })
  t.match(await hosts(sandbox, ['stop', '--env', 'review']), { code: 'NOT_FOUND' })
  t.match(await hosts(sandbox, ['rm', '--env', 'test', '--yes']), {
    json: { removed: [{ name: 'webapi-test' }, { name: 'webapi-test.previous' }] },
  })
  await stranger.remove()

  for (const [wrong, message] of [
    [['list'], /--env is required/],
    [['list', '--env', 'nowhere'], /no environment "nowhere"/],
    [['list', '--env', 'test', '--host', 'app-09'], /no host "app-09"/],
    [['logs', '--env', 'test', '--lines', 'x'], /--lines "x"/],
    [['stop', '--env', 'test', '--lock-wait', 'x'], /--lock-wait/],
  ] as const) {
    t.match(await hosts(sandbox, wrong), { code: 'INPUT_INVALID', message }, wrong.join(' '))
  }
  await engine.stop()
  t.match(await hosts(sandbox, ['list', '--env', 'test']), {
    json: { hosts: [{ answers: false, fault: /app-01.*does not answer/ }] },
  })
})
