import { spawnSync } from 'node:child_process'
import { chown, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { homeFolder } from '../../../src/core/files/home.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
/** A user that is not in /etc/passwd. */
const NOBODY = 54_321
const skip = process.getuid?.() === 0 ? false : 'only root can be another user'

t.test('HOME names the home', async (t) => {
  t.equal(homeFolder({ HOME: '/home/li' }), '/home/li')
})

t.test('a user without a home gets a folder of its own', { skip }, async (t) => {
  const work = await temporaryFolder(t)
  await chown(work, NOBODY, NOBODY)
  // Docker says that the home of such a user is /.
  for (const home of [{}, { HOME: '/' }, { HOME: '' }]) {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [MAIN, 'ledger', 'status', '--json'],
      {
        cwd: work,
        env: { PATH: process.env.PATH, TMPDIR: work, ...home },
        input: '',
        uid: NOBODY,
        gid: NOBODY,
        encoding: 'utf8',
      },
    )
    t.match(stderr, 'crosscloud.yml does not exist', JSON.stringify(home))
    t.equal(status, 2, stdout)
  }
})

t.test('a folder of another user is not used as a home', { skip }, async (t) => {
  const work = await temporaryFolder(t)
  await mkdir(join(work, `crosscloud-${NOBODY}`), { mode: 0o777 })
  await chown(work, NOBODY, NOBODY)
  const source = fileURLToPath(new URL('../../../dist/core/files/home.js', import.meta.url))
  const program = `import(${JSON.stringify(source)}).then(({ homeFolder }) => console.log(homeFolder({})))`
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', program], {
    cwd: work,
    env: { TMPDIR: work },
    uid: NOBODY,
    gid: NOBODY,
    encoding: 'utf8',
  })
  const folder = stdout.trim()
  t.match(folder, join(work, `crosscloud-${NOBODY}-`), stderr)
  const { uid, mode } = await stat(folder)
  t.same({ uid, mode: mode & 0o777 }, { uid: NOBODY, mode: 0o700 })
})
