import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { labels } from '../../src/image/image.ts'
import { readLayout } from '../../src/image/layout.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { deploy } from '../../src/steps/deploy.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { promote } from '../../src/steps/promote.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import { rollback } from '../../src/steps/rollback.ts'
import { verifyMd5 } from '../../src/steps/verify-md5.ts'
import { noEngine } from '../support/servers/engine.ts'
import { until } from '../support/until.ts'
import { DOCKERFILE, type DockerProject, dockerProject } from './docker-project.ts'

const skip = noEngine('docker-registry', 'busybox', 'docker')

await t.test('an image by the own Dockerfile, with the classic builder', { skip }, async (t) => {
  const project = await dockerProject(t)
  await t.test('is built, with its labels, its base, and without what is ignored', (t) =>
    building(t, project),
  )
  await t.test('is proven, promoted and rolled back as any other', (t) => delivering(t, project))
  await t.test('keeps its digest when its job runs again', (t) => repeating(t, project))
  await t.test('a build that fails says where, and what was printed', (t) => failing(t, project))
  await t.test('what is not the WAR is refused before it is pushed', (t) => comparing(t, project))
  await t.test('a packaged WAR is built in, and verified', (t) => packaged(t, project))
  await t.test('a cancelled build ends on the engine, too', (t) => cancelling(t, project))
})

await t.test('an image by the own Dockerfile, with BuildKit', { skip }, async (t) => {
  const project = await dockerProject(t, { buildKit: true })
  await t.test('is built, with its labels, its base, and without what is ignored', (t) =>
    building(t, project),
  )
  await t.test('a build that fails says where, and what was printed', (t) => failing(t, project))
  await t.test('a cancelled build ends on the engine, too', (t) => cancelling(t, project))
})

async function building(t: Test, { folder, baseDigest, docker, open }: DockerProject) {
  const { context, heard } = open()
  const baked = await runStep(bakeImage, { version: '0.9.0', commit: 'abc' }, context)
  const layout = await readLayout(join(folder, '.crosscloud/image'))
  const found = layout.config.config?.Labels ?? {}
  t.match(found, {
    [labels.application]: 'webapi',
    [labels.version]: '0.9.0',
    [labels.revision]: 'abc',
    [labels.warMd5]: baked.warMd5,
    [labels.webapp]: '/srv/ROOT',
    [labels.baseDigest]: baseDigest,
    [labels.source]: 'https://git.test/webapi',
    greeting: 'hi',
  })
  t.notOk(Object.keys(found).includes('io.crosscloud.build'))
  t.match(layout.base?.name, /^base$/, 'the registry has the layers of the base')
  t.equal(
    layout.content.layers[0] && (await layout.blobPath(layout.content.layers[0].digest)),
    undefined,
  )
  t.match(heard.text(), /\| .*COPY notes \/srv\/notes/, 'lines of the build are in the log')
  const pushed = await runStep(pushImage, { record: false }, context)
  await docker('pull', '--quiet', pushed.image)
  const list = await docker('run', '--rm', pushed.image, 'sh', '-c', 'echo /srv/notes/* /srv/*')
  t.equal(list, '/srv/notes/kept /srv/ROOT /srv/notes')
}

/** From crosscloud.yml to a container that was compared. */
async function release({ open }: DockerProject, version: string) {
  const { context } = open()
  await runStep(bakeImage, { version, commit: `commit-${version}` }, context)
  const { release = '' } = await runStep(pushImage, {}, context)
  await runStep(deploy, { release, env: 'test' }, context)
  return { context, release }
}

async function delivering(t: Test, project: DockerProject) {
  const { war, docker } = project
  const first = await release(project, '1.0.0')
  await runStep(verifyMd5, { env: 'test' }, first.context)
  await war('good evening')
  const second = await release(project, '1.0.1')
  const verified = await runStep(verifyMd5, { env: 'test' }, second.context)
  t.equal(verified.release, 'webapi@1.0.1')
  const promoted = await runStep(promote, { to: 'staging' }, second.context)
  t.match(promoted, { release: 'webapi@1.0.1', verified: true })
  const read = (name: string) => docker('exec', name, 'cat', '/srv/ROOT/index.html')
  t.equal(await read('webapi-staging'), 'good evening')
  await docker('exec', 'webapi-staging', 'sh', '-c', 'echo more >> /srv/ROOT/index.html')
  await t.rejects(runStep(verifyMd5, { env: 'staging' }, second.context), {
    code: 'VERIFY_FAILED',
    message: /changed {2}\/srv\/ROOT\/index\.html/,
  })
  const reason = 'the greeting is too late'
  const back = await runStep(rollback, { env: 'test', reason }, second.context)
  t.match(back, { release: 'webapi@1.0.0' })
  t.equal(await read('webapi-test'), 'hello')
}

async function repeating(t: Test, { place, war, open }: DockerProject) {
  const { context } = open()
  const ledger = await context.ledger()
  const known = await ledger.findRelease('webapi', '1.0.1')
  const given = { version: '1.0.1', commit: 'commit-1.0.1' }
  await place('notes/kept', 'a rebuild would be another image')
  const again = await runStep(bakeImage, given, context)
  t.equal(again.digest, known?.digest)
  const pushed = await runStep(pushImage, {}, context)
  t.match(pushed, { digest: known?.digest, release: 'webapi@1.0.1', uploaded: 0 })
  await t.rejects(runStep(bakeImage, { ...given, commit: 'another' }, context), {
    code: 'CONFLICT',
    message: /^webapi@1\.0\.1 is recorded already, from commit commit-1\.0\.1$/,
  })
  await war('another WAR')
  await t.rejects(runStep(bakeImage, given, context), {
    code: 'CONFLICT',
    message: /is recorded already, with another WAR/,
  })
  await war('hello')
}

async function failing(t: Test, { place, open }: DockerProject) {
  await place('Dockerfile', 'ARG BASE\nFROM $BASE\nRUN echo one; echo the reason; exit 7\n')
  const { context, heard } = open()
  await t.rejects(runStep(bakeImage, {}, context), {
    code: 'COMMAND_FAILED',
    message: /^Dockerfile: RUN echo one; echo the reason; exit 7: .*\b7\b(?:.*\n)* {2}the reason/,
    summary: /^Dockerfile: RUN [^\n]*$/,
  })
  t.match(heard.text(), /\| .*the reason/)
  await place('Dockerfile', 'ARG BASE\nFROM $BASE-missing\n')
  await t.rejects(runStep(bakeImage, {}, context), {
    code: 'COMMAND_FAILED',
    hint: /can reach this registry/,
  })
  await place('Dockerfile', 'FORM scratch\n')
  await t.rejects(runStep(bakeImage, {}, context), { message: /FORM/ })
  await place('Dockerfile', DOCKERFILE)
}

async function comparing(t: Test, { place, configure, open }: DockerProject) {
  const last = (line: string) => place('Dockerfile', `${DOCKERFILE}${line}\n`)
  const { context } = open()
  await last(
    'RUN echo x > /srv/ROOT/extra; rm /srv/ROOT/WEB-INF/web.xml; echo >> /srv/ROOT/index.html',
  )
  await t.rejects(runStep(bakeImage, {}, context), {
    code: 'VERIFY_FAILED',
    message:
      /does not hold the WAR \(MD5 \w+\) in \/srv\/ROOT:\n *missing {2}\/srv\/ROOT\/WEB-INF\/web\.xml\n *changed {2}\/srv\/ROOT\/index\.html\n *extra {4}\/srv\/ROOT\/extra$/,
  })
  await last('RUN mkdir /srv/ROOT/uploads; echo x > /srv/ROOT/uploads/x')
  await configure({ writable: ['/srv/ROOT/uploads'] })
  await runStep(bakeImage, {}, open().context)
  await configure({ webapp: '/srv/OTHER' })
  await t.rejects(runStep(bakeImage, {}, open().context), { message: /missing {2}\/srv\/OTHER\// })
  await configure()
  await place('Dockerfile', DOCKERFILE)
}

async function packaged(t: Test, project: DockerProject) {
  const { place, configure, open } = project
  await place('Dockerfile', 'ARG BASE\nFROM $BASE\nARG WAR\nCOPY $WAR /srv/ROOT.war\n')
  await t.rejects(runStep(bakeImage, {}, open().context), {
    code: 'VERIFY_FAILED',
    hint: 'It has /srv/ROOT.war: set `image.layout: packaged`.',
  })
  await configure({ layout: 'packaged' })
  const { context } = await release(project, '2.0.0')
  await runStep(verifyMd5, { env: 'test' }, context)
  await configure()
}

async function cancelling(t: Test, { place, open }: DockerProject) {
  await place('Dockerfile', 'ARG BASE\nFROM $BASE\nRUN echo it runs; sleep 31415\n')
  const stop = new AbortController()
  const { context } = open({ signal: stop.signal })
  const baking = runStep(bakeImage, {}, context)
  baking.catch(() => {})
  t.ok(await until(() => runs('sleep 31415')))
  stop.abort()
  await t.rejects(baking, { code: 'CANCELLED' })
  t.ok(await until(async () => !(await runs('sleep 31415'))))
  await place('Dockerfile', DOCKERFILE)
}

/** Whether a process with this command line runs, in whichever container. */
async function runs(command: string): Promise<boolean> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const read = (id: string) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')
  const lines = await Promise.all(ids.map(read))
  return lines.some((line) => line.replaceAll('\0', ' ').trim() === command)
}
