import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startRegistry } from '../../src/registry-server/server.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import { recordRelease } from '../../src/steps/record-release.ts'
import { retagImage } from '../../src/steps/retag-image.ts'
import { testContext } from '../support/context.ts'
import { APP, project } from './bake-project.ts'

const COMMIT = 'c0ffee0000000000000000000000000000000000'

/** An image that was pushed, and is no release yet. */
async function pushed(t: Test) {
  const folder = await project(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  await writeFile(
    join(folder, 'crosscloud.yml'),
    `app: webapi
ledger: sqlite:ledger.db
environments:
  test: { image: '${registry.address}/team/webapi' }
  production: { from: test, image: '${registry.address}/live/webapi' }
`,
  )
  const context = testContext(t, folder)
  const push = async (version: string, to = 'team/webapi') => {
    const { app, war, webapp } = APP
    const given = {
      app,
      war,
      webapp,
      version,
      commit: COMMIT,
      base: 'scratch',
      templates: 'deploy',
    }
    const { imageFolder } = await runStep(bakeImage, given as object, context)
    const target = `${registry.address}/${to}`
    return runStep(pushImage, { imageFolder, to: target, record: false }, context)
  }
  return { context, push, folder, address: registry.address }
}

t.test('what was pushed becomes a release, by its own labels', async (t) => {
  const { context, push } = await pushed(t)
  const { image, digest, release } = await push('1.0.0')
  t.equal(release, undefined)
  const given = { image, env: 'test', reason: 'by hand' }
  const recorded = await runStep(recordRelease, given, context)
  t.match(recorded, { release: 'webapi@1.0.0', image, digest, warMd5: /^[0-9a-f]{32}$/ })
  const ledger = await context.ledger()
  t.match(await ledger.findRelease('webapi', '1.0.0'), {
    digest,
    commit: COMMIT,
    reason: 'by hand',
  })
  t.strictSame(await runStep(recordRelease, given, context), recorded, 'once more is the same')
})

t.test('an image of anywhere else is no release of the environment', async (t) => {
  const { context, push, address } = await pushed(t)
  const { image } = await push('1.0.0', 'other/webapi')
  await t.rejects(runStep(recordRelease, { image, env: 'test' }, context), {
    code: 'INPUT_INVALID',
    message: `${image} is not in ${address}/team/webapi, the repository of test`,
  })
  const live = await push('1.0.0', 'live/webapi')
  await t.rejects(runStep(recordRelease, { image: live.image, env: 'production' }, context), {
    message: 'a release begins in the first environment, and production comes after test',
  })
  t.equal(await (await context.ledger()).findRelease('webapi', '1.0.0'), undefined)
})

t.test('a release keeps its digest', async (t) => {
  const { context, push, folder, address } = await pushed(t)
  const first = await push('1.0.0')
  await runStep(recordRelease, { image: first.image, env: 'test' }, context)
  await writeFile(join(folder, 'deploy/templates/webapi.hbs'), 'other\n')
  const second = await push('1.0.0', 'other/webapi')
  t.not(second.digest, first.digest)
  const moved = { image: second.image, to: `${address}/team/webapi:again` }
  const { image } = await runStep(retagImage, moved, context)
  await t.rejects(runStep(recordRelease, { image, env: 'test' }, context), {
    code: 'CONFLICT',
    message: `webapi@1.0.0 is ${first.digest}, not ${second.digest}`,
  })
})
