import { readFile } from 'node:fs/promises'
import t from 'tap'
import { findTestFiles, kindOf } from './support/unit-tests.ts'

t.test('which tests are unit tests follows from what they import', async (t) => {
  const { unit, local, servers } = await findTestFiles()
  for (const file of ['test/core/log.test.ts', 'test/gate/rules.test.ts', 'test/imports.test.ts']) {
    t.ok(unit.includes(file), `${file} needs nothing`)
  }
  for (const file of [
    'test/ledger/database/mysql.test.ts',
    'test/core/signals.test.ts',
    'test/e2e/demo.test.ts',
    'test/start.test.ts',
  ]) {
    t.ok(servers.includes(file), `${file} starts programs`)
  }
  for (const file of ['test/registry/client.test.ts', 'test/delivery/commit.test.ts']) {
    t.ok(local.includes(file), `${file} starts none that goes on`)
  }
  t.ok(unit.length > servers.length / 2, `${unit.length} unit tests, ${servers.length} others`)
})

t.test(
  'support that starts servers, containers or the built program makes a test no unit test',
  async (t) => {
    for (const support of [
      'servers/redis.ts',
      'servers/engine.ts',
      'setups/demo.ts',
      'cli.ts',
      'ci/action.ts',
    ]) {
      t.equal(await kindOf(`test/support/${support}`), 'servers', support)
    }
    for (const support of ['until.ts', 'program.ts', 'data/war.ts', 'data/settings.ts']) {
      t.equal(await kindOf(`test/support/${support}`), 'unit', support)
    }
  },
)

t.test('no test sets a time limit for the others of its process', async (t) => {
  const { unit, local } = await findTestFiles()
  for (const file of [...unit, ...local]) {
    t.notMatch(await readFile(file, 'utf8'), /^t\.setTimeout/m, file)
  }
})
