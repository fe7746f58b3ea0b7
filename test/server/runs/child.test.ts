import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import type { PresentedWho } from '../../../src/identity/presented.ts'
import { completeCommand } from '../../../src/server/effects/command.ts'
import { runChild } from '../../../src/server/runs/child.ts'
import type { Settings } from '../../../src/settings.ts'
import { temporaryFolder } from '../../support/temporary.ts'

t.test('a step has the environment that its settings were checked with', async (t) => {
  const folder = await temporaryFolder(t)
  const program = join(folder, 'program.cjs')
  await writeFile(
    program,
    `process.once('message', (message) => {
       process.stdout.write(JSON.stringify({ env: process.env, message }))
       process.disconnect()
     })`,
  )
  const environment = { HOME: folder, CROSSCLOUD_RUN: 'true' }
  const presented: PresentedWho = {
    ...{ kind: 'job', login: 'li', id: '42', groups: ['team/dev'], identity: 'https://i' },
    project: 'team/webapi',
    job: { id: '1', sha: 'abc', refProtected: true, attempt: 1 },
  }
  const { output } = await runChild({
    request: { step: 'deploy', inputs: {}, environment: 'test' },
    subject: {
      ...{ kind: 'job', name: 'job 1 of team/webapi (li)', by: 'li', byId: '42' },
      ...{ identity: 'https://i', names: [] },
      claims: { ref: 'main', project: 'team/webapi' },
      presented,
    },
    application: {
      ...{ app: 'webapi', commit: 'c', folder, file: 'x.yml', variables: [], environment: {} },
      settings: {} as Settings,
      variablesFor: (name) => ({ ...environment, WHERE: name }),
    },
    worker: { folder, program, variables: {}, log: silentLog, secrets: createSecrets() },
    url: 'https://crosscloud.example.com/runs/1',
    signal: new AbortController().signal,
    timeout: 30_000,
  })
  const seen = Object.entries((output?.env ?? {}) as Record<string, string>)
  const own = seen.filter(([name]) => !name.startsWith('NODE_'))
  t.strictSame(
    Object.fromEntries(own),
    { ...environment, WHERE: 'test' },
    'who asks changes no variable',
  )
  const from = {
    by: 'li',
    branch: 'main',
    commit: 'abc',
    jobUrl: 'https://crosscloud.example.com/runs/1',
  }
  t.strictSame(output?.message, {
    who: { ...presented, from },
  })
})

t.test('what a step starts does not inherit its secrets', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'ssh'), `#!/bin/sh\n/usr/bin/env > ${folder}/env\nexit 255\n`)
  await chmod(join(folder, 'ssh'), 0o755)
  const test = {
    image: 'registry.test/webapi',
    hosts: { a: 'ssh://deployer@10.0.0.1' },
    container: { env: { PASSWORD: '$' + '{CROSSCLOUD_OWN_PASSWORD}' } },
  }
  const settings = { app: 'webapi', ledger: 'sqlite:ledger.db', environments: { test } }
  await writeFile(join(folder, 'crosscloud.yml'), JSON.stringify(settings))
  const { failure } = await completeCommand({
    program: fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url)),
    args: ['hosts', 'check', '--env', 'test'],
    cwd: folder,
    env: {
      ...{ PATH: `${folder}:${process.env.PATH}`, HOME: folder, CROSSCLOUD_STATE: folder },
      ...{ CROSSCLOUD_RUN: 'true', CROSSCLOUD_WORKER: 'true', REGISTRY_TOKEN: 'swordfish-2' },
      CROSSCLOUD_OWN_PASSWORD: 'swordfish-1',
    },
    signal: new AbortController().signal,
    timeout: 60_000,
    message: { who: { login: 'li', id: '42', groups: [], identity: 'https://i' } },
  })
  t.notMatch(failure?.message, /not set/, 'the step itself has them')
  const env = await readFile(join(folder, 'env'), 'utf8')
  t.match(env, `HOME=${folder}`)
  t.notMatch(env, /swordfish|CROSSCLOUD_/)
})
