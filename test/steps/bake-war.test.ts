import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/core/log.ts'
import { run } from '../../src/core/process/process.ts'
import { findLayer } from '../../src/image/image.ts'
import { readLayout } from '../../src/image/layout.ts'
import { startRegistry } from '../../src/registry-server/server.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { testContext } from '../support/context.ts'
import { makeImage, pushImage, rewrite } from '../support/data/image.ts'
import { writeSample } from '../support/data/layers.ts'
import { rawZip, writeWar } from '../support/data/war.ts'
import { newClient } from '../support/servers/embedded-registry.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'

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

const noZip = missingProgram('zip')
await t.test('a page with a name that zip did not mark is baked by that name', async (t) => {
  const folder = await project(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  const page = 'docs/Français 文档.txt'
  if (noZip) {
    const entries = [{ name: page, flags: 0 }, { name: 'WEB-INF/web.xml' }]
    await writeFile(join(folder, 'webapi.war'), rawZip(entries))
  } else {
    for (const path of [page, 'WEB-INF/web.xml']) {
      await mkdir(dirname(join(folder, 'war', path)), { recursive: true })
      await writeFile(join(folder, 'war', path), '')
    }
    await rm(join(folder, 'webapi.war'))
    await run('zip', ['-qr', '../webapi.war', '.'], { cwd: join(folder, 'war') })
  }
  const client = await newClient(t)
  const bake = async (Env: string[], inputs: object = {}) => {
    const image = rewrite(makeImage('base'), { config: { Env } })
    await pushImage(client, { registry: registry.address, name: 'base', tag: '1' }, image)
    const lines: string[] = []
    const log = { ...silentLog, warn: (line: string) => void lines.push(line) }
    const base = `${registry.address}/base:1`
    await runStep(bakeImage, { ...APP, base, ...inputs }, testContext(t, folder, { log }))
    return lines
  }
  t.match(await bake(['PATH=/bin']), [/1 names.*docs\/Français 文档\.txt.*LANG=C\.UTF-8/])
  const layout = await readLayout(join(folder, '.crosscloud/image'))
  const layer = findLayer(layout.content, 'manifest')?.digest
  await run('tar', ['xzf', (layer && (await layout.blobPath(layer))) ?? '', '-C', folder])
  t.match(await readFile(join(folder, '.crosscloud/files.md5'), 'utf8'), `ROOT/${page}\n`)
  t.strictSame(await bake(['LANG=en_US.UTF-8']), [], 'the JVM will find it')
  const packaged = bake([], { warLayout: 'packaged', warNames: 'gbk' })
  await t.rejects(packaged, { code: 'INPUT_INVALID', message: /gbk cannot stay in a packaged/ })
})
