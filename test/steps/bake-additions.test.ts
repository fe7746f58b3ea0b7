import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { readLayout } from '../../src/image/layout.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { testContext } from '../support/context.ts'
import { writeSample } from '../support/data/layers.ts'
import { temporaryFolder } from '../support/temporary.ts'

const APP = { app: 'webapi', war: 'webapi.war', webapp: '/srv/webapps/ROOT', base: 'scratch' }

async function project(t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  await writeSample(join(folder, 'webapi.war'))
  await mkdir(join(folder, 'confd/conf.d'), { recursive: true })
  await writeFile(join(folder, 'confd/conf.d/a.toml'), '[template]\n')
  await writeFile(join(folder, 'confd-0.16'), 'the program')
  await chmod(join(folder, 'confd-0.16'), 0o700)
  return folder
}

t.test('files and folders are baked beside the WAR, and another entrypoint', async (t) => {
  const folder = await project(t)
  const add = ['confd-0.16:/usr/local/bin/confd', 'confd:/etc/confd']
  const entrypoint = ['/usr/local/bin/start', '--all']
  const bake = (inputs: { add: string[]; entrypoint: string[]; startScript?: boolean }) =>
    runStep(bakeImage, { ...APP, ...inputs }, testContext(t, folder))
  const baked = await bake({ add, entrypoint })
  const layout = await readLayout(join(folder, '.crosscloud/image'))
  t.strictSame(layout.config.config?.Entrypoint, entrypoint)
  const out = join(folder, 'out')
  await mkdir(out)
  for (const layer of layout.content.layers) {
    await run('tar', ['xzf', (await layout.blobPath(layer.digest)) ?? '', '-C', out])
  }
  t.equal(await readFile(join(out, 'usr/local/bin/confd'), 'utf8'), 'the program')
  t.equal((await stat(join(out, 'usr/local/bin/confd'))).mode & 0o777, 0o755)
  t.equal(await readFile(join(out, 'etc/confd/conf.d/a.toml'), 'utf8'), '[template]\n')
  t.equal((await stat(join(out, 'etc/confd/conf.d/a.toml'))).mode & 0o777, 0o644)
  t.match(await readFile(join(out, '.crosscloud/files.md5'), 'utf8'), '/usr/local/bin/confd')

  await chmod(join(folder, 'confd/conf.d/a.toml'), 0o600)
  t.equal((await bake({ add, entrypoint })).digest, baked.digest, 'the umask does not matter')
  await writeFile(join(folder, 'confd-0.16'), 'the programme')
  t.not((await bake({ add, entrypoint })).digest, baked.digest)
  await bake({ add, entrypoint, startScript: true })
  const started = await readLayout(join(folder, '.crosscloud/image'))
  t.strictSame(started.config.config?.Entrypoint, ['/.crosscloud/start.sh', ...entrypoint])
})

t.test('an addition that cannot be placed is refused', async (t) => {
  const folder = await project(t)
  await mkdir(join(folder, 'empty'))
  await symlink('/etc/passwd', join(folder, 'link'))
  await symlink('/etc', join(folder, 'elsewhere'))
  const table: [add: string, code: string, message: RegExp][] = [
    ['nothing:/a', 'NOT_FOUND', /adding .*nothing/],
    ['empty:/a', 'INPUT_INVALID', /holds no file/],
    ['link:/a', 'INPUT_INVALID', /link: a symbolic link on its way/],
    ['elsewhere/passwd:/a', 'INPUT_INVALID', /elsewhere\/passwd: a symbolic link on its way/],
    ['elsewhere:/a', 'INPUT_INVALID', /adding .*elsewhere: a symbolic link on its way/],
    ['confd', 'INPUT_INVALID', /--add.*write from:/],
    ['confd:../a', 'INPUT_INVALID', /write from:/],
    ['confd:/a/../b', 'INPUT_INVALID', /write from:/],
  ]
  for (const [add, code, message] of table) {
    const inputs = { ...APP, add: [add] }
    await t.rejects(runStep(bakeImage, inputs, testContext(t, folder)), { code, message }, add)
  }
})

t.test(
  'an addition that meets the WAR, another or our own folder is refused by name',
  async (t) => {
    const folder = await project(t)
    const own = 'confd-0.16'
    await mkdir(join(folder, 'more'))
    await writeFile(join(folder, 'more/a'), 'a')
    await writeFile(join(folder, 'more/.wh.b'), 'b')
    await mkdir(join(folder, 'lines'))
    await writeFile(join(folder, 'lines/a\nb'), 'b')
    const root = '/srv/webapps/ROOT'
    const table: [add: string[], message: RegExp, inputs?: object][] = [
      [
        [`${own}:${root}/index.jsp`],
        /confd-0\.16:\/.*: \/srv\/webapps\/ROOT\/index\.jsp is a file of the WAR/,
      ],
      [[`confd:${root}/WEB-INF/web.xml`], /leads through \/srv.*web\.xml, a file of the WAR/],
      [[`${own}:${root}/static`], /ROOT\/static is a folder of the WAR/],
      [[`${own}:/a`, `${own}:/a`], /\/a is a file of confd-0\.16:\/a/],
      [['confd:/etc/a', `${own}:/etc/a/conf.d/a.toml`], /is a file of confd:\/etc\/a/],
      [['confd:/etc/a', `${own}:/etc/a/conf.d`], /\/etc\/a\/conf\.d is a folder of confd:/],
      [[`${own}:/etc/a`, 'confd:/etc/a'], /leads through \/etc\/a, a file of confd-0\.16:/],
      [['confd:/.crosscloud/config'], /is in \/\.crosscloud, crosscloud's own folder/],
      [[`${own}:/.crosscloud`], /\/\.crosscloud is crosscloud's own folder/],
      [
        [`${own}:/usr/local/bin/`],
        /\/usr\/local\/bin\/ ends as a folder does, and .*confd-0\.16 is a file/,
      ],
      [['more:/a'], /more\/\.wh\.b": its name would be a deletion mark/],
      [['lines:/a'], /lines\/a\\nb": its name has a control character/],
      [[`${own}:${root}.war`], /ROOT\.war is a file of the WAR/, { warLayout: 'packaged' }],
      [
        [`${own}:${root}/x`],
        /is in \/srv\/webapps\/ROOT, where the WAR/,
        { warLayout: 'packaged' },
      ],
    ]
    for (const [add, message, inputs] of table) {
      const work = runStep(bakeImage, { ...APP, ...inputs, add }, testContext(t, folder))
      await t.rejects(work, { code: 'INPUT_INVALID', message, hint: /./ }, add.join())
    }
    const all = [`${own}:${root}/index.jsp`, `${own}:${root}/WEB-INF/web.xml`]
    const both = runStep(bakeImage, { ...APP, add: all }, testContext(t, folder))
    await t.rejects(
      both,
      { message: /index\.jsp is .*\n.*web\.xml is / },
      'all are reported at once',
    )
    t.notOk((await readdir(folder)).includes('.crosscloud'), 'and nothing is written')
    const beside = [`${own}:${root}/WEB-INF/more.xml`, `${own}:/etc/a:b`]
    await runStep(bakeImage, { ...APP, add: beside }, testContext(t, folder))
  },
)
