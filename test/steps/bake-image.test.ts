import { createHash } from 'node:crypto'
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { run } from '../../src/core/process.ts'
import { readLayout } from '../../src/image/layout.ts'
import { startRegistry } from '../../src/registry/server.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import { testContext } from '../support/context.ts'
import { makeImage, makeIndex, pushImage as pushTestImage } from '../support/image.ts'
import { sample, writeSample } from '../support/layers.ts'
import { newClient } from '../support/registry-client.ts'
import { temporaryFolder } from '../support/temporary.ts'

const APP = { app: 'webapi', war: 'webapi.war', webapp: '/srv/webapps/ROOT' }
const templates: Record<string, string> = {
  'deploy/conf.d/webapi.toml':
    '[template]\nsrc = "webapi.hbs"\ndest = "/etc/webapi.properties"\nkeys = ["/webapi"]\n',
  'deploy/templates/webapi.hbs': 'greeting={{getv "/webapi/greeting"}}\n',
}

async function project(t: Test, date?: Date): Promise<string> {
  const folder = await temporaryFolder(t)
  await writeSample(join(folder, 'webapi.war'))
  for (const [path, text] of Object.entries(templates)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
    if (date) await utimes(join(folder, path), date, date)
  }
  if (date) await utimes(join(folder, 'webapi.war'), date, date)
  return folder
}

await t.test('baked twice, in two folders, at two times: the same digest', async (t) => {
  const bake = async (folder: string, warLayout: 'exploded' | 'packaged') =>
    runStep(
      bakeImage,
      { ...APP, base: 'scratch', version: '1.4.2', commit: 'abc', templates: 'deploy', warLayout },
      testContext(t, folder),
    )
  const first = await project(t)
  const second = await project(t, new Date('2001-02-03T04:05:06Z'))
  const one = await bake(first, 'exploded')
  await sleep(1100)
  const two = await bake(second, 'exploded')
  t.strictSame(two, one)
  const [packed, packedAgain] = [await bake(first, 'packaged'), await bake(second, 'packaged')]
  t.strictSame(packedAgain, packed)
  t.not(packed.digest, one.digest)

  const war = await readFile(join(first, 'webapi.war'))
  t.equal(one.warMd5, createHash('md5').update(war).digest('hex'))
  t.equal(one.warSha256, createHash('sha256').update(war).digest('hex'))
  t.strictSame(await readdir(join(first, '.crosscloud')), ['image'])
})

await t.test('layers are kept under the seal of a key that is outside the checkout', async (t) => {
  const folder = await project(t)
  const home = await temporaryFolder(t)
  const open = join(home, 'open')
  await mkdir(open)
  await chmod(open, 0o777)
  /** Bakes, and tells which files hold the layers: the same again where none was made anew. */
  const bake = async (variables: Record<string, string>) => {
    const context = testContext(t, folder, { variables })
    await runStep(bakeImage, { ...APP, base: 'scratch' }, context)
    const blobs = join(folder, '.cache', 'blobs')
    const names = (await readdir(blobs)).sort()
    return Promise.all(names.map(async (name) => (await stat(join(blobs, name))).ino))
  }
  const key = join(home, '.local/state/crosscloud/cache.key')
  const first = await bake({ HOME: home })
  t.strictSame(await bake({ HOME: home }), first)
  t.equal((await stat(key)).mode & 0o777, 0o600)

  await truncate(key, 10)
  const anew = await bake({ HOME: home })
  t.notMatch(anew, first, 'a key that was cut is another one')
  t.strictSame(await bake({ HOME: home }), anew)
  await chmod(key, 0o644)
  const known = await bake({ HOME: home })
  t.notMatch(known, anew, 'a key that others have seen is none')

  for (const state of [join(folder, 'state'), open]) {
    const variables = { HOME: home, CROSSCLOUD_STATE: state }
    t.notMatch(await bake(variables), await bake(variables), state)
    await t.rejects(stat(join(state, 'cache.key')), { code: 'ENOENT' })
  }
})

await t.test('what the image says of itself is true', async (t) => {
  const folder = await project(t)
  const inputs = { ...APP, base: 'scratch', version: '1.4.2', commit: 'abc', templates: 'deploy' }
  const baked = await runStep(bakeImage, inputs, testContext(t, folder))
  const layout = await readLayout(join(folder, '.crosscloud/image'))
  t.equal(layout.manifest.digest, baked.digest)
  t.equal(layout.content.layers.length, baked.layers)
  t.match(layout.config.config?.Labels, {
    'org.opencontainers.image.title': 'webapi',
    'org.opencontainers.image.version': '1.4.2',
    'org.opencontainers.image.revision': 'abc',
    'org.opencontainers.image.created': '2026-01-02T03:04:06.000Z',
    'io.crosscloud.war.md5': baked.warMd5,
    'io.crosscloud.war.sha256': baked.warSha256,
    'io.crosscloud.war.layout': 'exploded',
    'io.crosscloud.webapp': '/srv/webapps/ROOT',
  })
  const root = join(folder, 'root')
  await mkdir(root)
  for (const { digest } of layout.content.layers) {
    await run('tar', ['xzf', (await layout.blobPath(digest)) ?? '', '-C', root])
  }
  const manifest = await readFile(join(root, '.crosscloud/files.md5'), 'utf8')
  t.equal(manifest.trim().split('\n').length, Object.keys(sample).length)
  await writeFile(join(folder, 'sums'), manifest.replaceAll('  /', `  ${root}/`))
  await run('md5sum', ['--check', '--strict', '--quiet', join(folder, 'sums')])
  for (const [path, text] of Object.entries(templates)) {
    const inImage = join(root, '.crosscloud/config', path.slice('deploy/'.length))
    t.equal(await readFile(inImage, 'utf8'), text)
  }
})

await t.test('on a base from a registry, and to a registry', async (t) => {
  const folder = await project(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  const client = await newClient(t)
  const library = { registry: registry.address, name: 'library/base' }
  const [amd, arm] = [makeImage('amd'), makeImage('arm', { architecture: 'arm64' })]
  for (const image of [amd, arm]) await pushTestImage(client, library, image)
  const index = makeIndex([
    { image: amd, architecture: 'amd64' },
    { image: arm, architecture: 'arm64' },
  ])
  await client.putManifest({ ...library, tag: '1' }, index)
  const base = `${registry.address}/library/base:1`
  const context = testContext(t, folder)

  const baked = await runStep(bakeImage, { ...APP, base, architecture: 'arm64' }, context)
  const layout = await readLayout(join(folder, '.crosscloud/image'))
  t.equal(layout.config.architecture, 'arm64')
  t.equal(layout.base?.digest, arm.manifest.digest, 'settled to a digest')
  t.match(layout.config.config?.Labels, {
    seed: 'arm',
    'org.opencontainers.image.base.digest': arm.manifest.digest,
  })
  const blobs = registry.requests.filter(
    ({ method, path }) => method === 'GET' && /blobs/.test(path),
  )
  t.equal(blobs.length, 1, "of the base's blobs only its config is read")

  const to = `${registry.address}/team/webapi`
  const push = (tag: string) => runStep(pushImage, { to, tag, record: false }, context)
  const first = await push('one')
  t.match(first, { digest: baked.digest, image: `${to}@${baked.digest}`, mounted: 2 })
  t.equal(first.present + first.mounted + first.uploaded, baked.layers + 2 + 1)
  const again = await push('one')
  t.match(again, { uploaded: 0, mounted: 0, bytesSent: 0 })

  await writeSample(join(folder, 'webapi.war'), {
    'WEB-INF/classes/com/example/A.class': 'class A, changed',
  })
  const changed = await runStep(bakeImage, { ...APP, base, architecture: 'arm64' }, context)
  t.not(changed.digest, baked.digest)
  await t.rejects(push('one'), { code: 'CONFLICT', hint: /--overwrite/ })
  const small = await push('two')
  t.equal(small.uploaded, 3, 'classes, file manifest, config')
  // The sample's other class does not compress, and is in the same layer.
  t.ok(small.bytesSent < 65_536 + 16_384, `${small.bytesSent} bytes for one class`)
  const moved = await runStep(
    pushImage,
    { to, tag: 'one', record: false, overwrite: true },
    context,
  )
  t.equal(moved.uploaded, 0)
  t.equal(await client.resolve({ ...library, name: 'team/webapi', tag: 'one' }), changed.digest)
})

await t.test('what is missing or wrong is named, and nothing is left', async (t) => {
  const folder = await project(t)
  await writeFile(join(folder, 'page.war'), '<html>Not Found</html>')
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  const bad: [Record<string, unknown>, object][] = [
    [{ war: 'none.war' }, { code: 'NOT_FOUND', message: /none\.war does not exist/ }],
    [{ war: 'page.war' }, { code: 'INPUT_INVALID', message: /page\.war is not a readable ZIP/ }],
    [{ war: '.' }, { code: 'INPUT_INVALID', message: /is not a file/ }],
    [{ base: `${registry.address}/no/such:1` }, { code: 'NOT_FOUND', message: /no\/such:1/ }],
    [{ base: 'https://x/y' }, { code: 'INPUT_INVALID', message: /--base/ }],
    [{ webapp: 'relative' }, { code: 'INPUT_INVALID', message: /--webapp/ }],
    [{ templates: 'no-such-folder' }, { code: 'NOT_FOUND', message: /no-such-folder/ }],
    [{ warLayout: 'flat' }, { code: 'INPUT_INVALID', message: /--war-layout/ }],
    [{ version: 'not a version' }, { code: 'INPUT_INVALID', message: /--version/ }],
  ]
  for (const [inputs, expected] of bad) {
    const work = runStep(bakeImage, { ...APP, base: 'scratch', ...inputs }, testContext(t, folder))
    const error = await work.catch((caught) => caught)
    t.match(error, expected, JSON.stringify(inputs))
  }
  t.notOk((await readdir(folder)).includes('.crosscloud'))
})

await t.test('a pointer of Git LFS never passes for the file', async (t) => {
  const folder = await project(t)
  const oid = `oid sha256:${'ab'.repeat(32)}\nsize 12345\n`
  const pointer = `version https://git-lfs.github.com/spec/v1\n${oid}`
  const bake = (inputs: object) =>
    runStep(bakeImage, { ...APP, base: 'scratch', ...inputs }, testContext(t, folder))
  await writeFile(join(folder, 'agent.jar'), pointer)
  await t.rejects(bake({ add: ['agent.jar:/opt/agent.jar'] }), {
    code: 'INPUT_INVALID',
    message: /^opt\/agent\.jar: .*pointer of Git LFS/,
  })
  // Texts about pointers are none.
  await writeSample(join(folder, 'webapi.war'), { 'docs/a.txt': ` ${pointer}`, 'docs/b.txt': oid })
  await bake({})
  for (const name of ['static/logo.png', 'WEB-INF/lib/vendor-1.0.jar', 'static/logo-stored.png']) {
    await writeSample(join(folder, 'webapi.war'), { [name]: pointer })
    for (const warLayout of ['exploded', 'packaged']) {
      await t.rejects(bake({ warLayout }), {
        code: 'INPUT_INVALID',
        message: new RegExp(`^${name}: .*pointer of Git LFS`),
        hint: /git lfs pull/,
      })
    }
  }
})

await t.test('cancelled in the middle, nothing is left', async (t) => {
  const folder = await project(t)
  for (const delay of [0, 5, 20, 60]) {
    const stop = new AbortController()
    const context = testContext(t, folder, {
      signal: stop.signal,
      variables: { CROSSCLOUD_CACHE: join(folder, `cache${delay}`) },
    })
    const work = runStep(bakeImage, { ...APP, base: 'scratch' }, context)
    setTimeout(() => stop.abort(new StepError('CANCELLED', 'stopped by SIGINT')), delay)
    const error = await work.then(
      () => undefined,
      (caught) => caught,
    )
    t.ok(error || delay > 5, 'at this delay it cannot be ready')
    if (error) t.match(error, { code: 'CANCELLED', message: 'stopped by SIGINT' })
    const left = await readdir(folder, { recursive: true })
    t.notOk(left.some((path) => /\.staged-|\.image-/.test(path)))
    if (error) t.notOk(left.includes('.crosscloud/image'))
  }
})
