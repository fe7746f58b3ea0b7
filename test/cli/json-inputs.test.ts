import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { gatherInputs } from '../../src/cli/options.ts'
import { loadStep } from '../../src/steps/index.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

const gather = async (step: string, inputs: unknown, more: Record<string, string> = {}) => {
  const found = await loadStep(step)
  if (!found) throw new Error(`there is no step ${step}`)
  const text = typeof inputs === 'string' ? inputs : JSON.stringify(inputs)
  return gatherInputs(found, {}, undefined, { CROSSCLOUD_INPUTS: text, ...more })
}

t.test(
  'inputs that come together keep their characters, their lists and their types',
  async (t) => {
    const text = `it's $5, \${HOME} "ü 中"\nand a line`
    t.strictSame(await gather('build-war', { war: text, args: ['-Dp=$w', text] }), {
      war: text,
      args: ['-Dp=$w', text],
    })
    t.strictSame(await gather('deploy', { force: true, lockWait: '10m' }), {
      force: true,
      lockWait: '10m',
    })
    t.strictSame(await gather('deploy', { force: 'true', reason: 5 }), { force: true, reason: '5' })
    t.strictSame(await gather('deploy', '{"reason": "\\u00fc"}'), { reason: 'ü' })
  },
)

t.test(
  'they go before single variables, and after flags; null and empty are not given',
  async (t) => {
    const single = { CROSSCLOUD_ENV: 'single', CROSSCLOUD_REASON: 'single' }
    t.strictSame(await gather('deploy', { env: 'together', reason: '', force: null }, single), {
      env: 'together',
      reason: 'single',
    })
    const step = await loadStep('deploy')
    t.ok(step)
    const variables = { CROSSCLOUD_INPUTS: '{"env": "together"}' }
    t.strictSame(step && gatherInputs(step, { env: 'flag' }, undefined, variables), { env: 'flag' })
  },
)

t.test('all problems in them are reported, with the inputs there are', async (t) => {
  await t.rejects(gather('deploy', { releas: 'x', lock_wait: '1m', force: 'yes', env: ['a'] }), {
    code: 'INPUT_INVALID',
    message: [
      'CROSSCLOUD_INPUTS: there is no input releas',
      'CROSSCLOUD_INPUTS: there is no input lock_wait',
      'CROSSCLOUD_INPUTS, force: "yes" is not true or false',
      'CROSSCLOUD_INPUTS, env: ["a"] is not a string',
    ].join('\n'),
    hint: 'Inputs here: release, env, reason, force, older, breakGlass, acrossMigration, without, missing, adopt, lockWait, plan.',
  })
  for (const text of ['[]', '"x"', 'null', '{"env": ']) {
    await t.rejects(gather('deploy', text), /CROSSCLOUD_INPUTS is not a JSON object/, text)
  }
  await t.rejects(gather('build-war', { args: [1] }), /args: \[1\] is not a list of texts/)
})

t.test('the program reads them, and its help names them', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.yml'), 'app: webapi\n')
  const variables = { CROSSCLOUD_INPUTS: '{"release": "webapi@1.0.0", "env": "nowhere"}' }
  const said = await runHere(['deploy', '--json'], { cwd, variables })
  t.equal(said.code, 2)
  t.match(JSON.parse(said.stdout), { error: { message: /there is no environment "nowhere"/ } })
  const help = await runHere(['deploy', '--help'], { cwd })
  t.match((await runHere(['--help'], { cwd })).all + help.all, 'CROSSCLOUD_INPUTS')
})
