import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { testContext } from '../support/context.ts'
import { writeSample } from '../support/layers.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { rawZip, writeWar } from '../support/war.ts'

const APP = { app: 'webapi', war: 'webapi.war', webapp: '/srv/webapps/ROOT' }

async function project(t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  await writeSample(join(folder, 'webapi.war'))
  return folder
}

await t.test('a ZIP that a server would serve whole is no WAR', async (t) => {
  const folder = await project(t)
  const bake = async (files: Record<string, string>, inputs: object = {}) => {
    await writeWar(join(folder, 'webapi.war'), files)
    return runStep(bakeImage, { ...APP, base: 'scratch', ...inputs }, testContext(t, folder))
  }
  const jar = {
    'META-INF/MANIFEST.MF': 'Main-Class: org.springframework.boot.loader.launch.JarLauncher\n',
    'BOOT-INF/classes/application.properties': 'spring.datasource.password=secret\n',
  }
  const code = 'INPUT_INVALID'
  for (const warLayout of ['exploded', 'packaged'] as const) {
    const message = /webapi\.war is a Spring Boot jar, not a WAR/
    await t.rejects(bake(jar, { warLayout }), { code, message, hint: /packaging war/ })
    await t.rejects(bake(jar, { warLayout, warStatic: true }), { code, message }, 'never static')
    const page = bake({ 'index.html': 'hello', 'WEB-INF.txt': '' }, { warLayout })
    await t.rejects(page, { code, message: /has no WEB-INF\//, hint: /war\.static: true/ })
  }
  t.notOk((await readdir(folder)).includes('.crosscloud'))
  await bake({ 'index.html': 'hello' }, { warStatic: true })
  const empty = rawZip([{ name: 'index.html' }, { name: 'WEB-INF/', mode: 0o040755 }])
  await writeFile(join(folder, 'empty.war'), empty)
  await runStep(bakeImage, { ...APP, war: 'empty.war', base: 'scratch' }, testContext(t, folder))
})

await t.test('a packaged WAR gets its .war once', async (t) => {
  const folder = await project(t)
  const bake = (webapp: string, warLayout: 'exploded' | 'packaged') =>
    runStep(bakeImage, { ...APP, base: 'scratch', webapp, warLayout }, testContext(t, folder))
  for (const webapp of ['/srv/webapps/ROOT.war', '/srv/webapps/ROOT.WAR/']) {
    await t.rejects(bake(webapp, 'packaged'), {
      code: 'INPUT_INVALID',
      message: /ROOT\.war\/?\.war/i,
      hint: /: \/srv\/webapps\/ROOT\.$/,
    })
  }
  await bake('/opt/wildfly/standalone/deployments/ROOT.war', 'exploded')
})
