import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createSecrets } from '../../src/core/secrets.ts'
import { parseSettings } from '../../src/settings.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

const parse = (text: string) => parseSettings(text, 'crosscloud.yml', {}, createSecrets())

t.test('a variable that is not set is to be set, the lines are right', async (t) => {
  const unset = 'app: webapi\nledger: mysql://crosscloud:${LEDGER_PASSWORD}@db/crosscloud\n'
  await t.rejects(parse(unset), {
    message: 'crosscloud.yml:2 variable LEDGER_PASSWORD is not set',
    hint: /^Set the variable where this runs: [^\n]* in CI as a variable or secret[^\n]*$/,
  })
  const hintOf = async (text: string) => {
    const parsed = parse(text)
    return parsed.then(
      () => '',
      (error) => `${error.hint}`,
    )
  }
  t.match(await hintOf(`${unset}typo: 1\n`), /^Set the variable .*\nMend these lines\./)
  t.match(await hintOf('app: webapi\ntypo: 1\n'), /^Mend these lines\. docs\/settings\.md/)
})

t.test('a secret that arrives empty is told by its name', async (t) => {
  const cwd = await temporaryFolder(t)
  const status = async (ledger: string, variables: Record<string, string>) => {
    await writeFile(join(cwd, 'crosscloud.yml'), `app: webapi\nledger: ${ledger}\n`)
    return runHere(['status'], { cwd, variables })
  }
  const empty = await status('sqlite:${LEDGER}', { LEDGER: '' })
  t.match(empty.stderr, 'LEDGER is empty: is the secret set?', 'in the error')
  t.match(empty.stderr, /→ Set it where this runs; in CI as a variable or secret/)
  t.strictSame(empty.all.match(/variable LEDGER is empty, in ledger/g)?.length, 1, 'once before it')
  const meant = await status('sqlite:ledger.db${MORE:-}', { MORE: '' })
  t.match(meant, { code: 0, stderr: '' }, 'one that may be empty is not')
  t.notMatch(meant.all, 'is empty')
})
