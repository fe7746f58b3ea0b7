import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../src/core/log.ts'
import { run } from '../../src/core/process/process.ts'
import { readLayout } from '../../src/image/layout.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { testContext } from '../support/context.ts'
import { writeWar } from '../support/data/war.ts'
import { APP, project } from './bake-project.ts'

async function commitAll(folder: string, date: string): Promise<string> {
  const git = async (...args: string[]) => {
    const env = { GIT_COMMITTER_DATE: date, GIT_AUTHOR_DATE: '2001-01-01T00:00:00Z' }
    const user = ['-c', 'user.name=Li', '-c', 'user.email=li@example.com']
    return (await run('git', [...user, ...args], { cwd: folder, env })).stdout.trim()
  }
  await git('init', '--quiet')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'all')
  return git('rev-parse', 'HEAD')
}

await t.test("served files have the commit's time where the settings say so", async (t) => {
  const [here, there] = [await project(t), await project(t)]
  const date = '2024-05-06T07:08:09+02:00'
  const commit = await commitAll(here, date)
  t.equal(await commitAll(there, date), commit)
  const bake = (folder: string, more: object = {}) =>
    runStep(
      bakeImage,
      { ...APP, base: 'scratch', times: 'commit', commit, ...more },
      testContext(t, folder),
    )
  const baked = await bake(here)
  t.strictSame(await bake(there), baked, 'in another clone the same digest')
  const layout = await readLayout(join(here, '.crosscloud/image'))
  const out = join(here, 'out')
  await mkdir(out)
  for (const { digest } of layout.content.layers) {
    await run('tar', ['xzf', (await layout.blobPath(digest)) ?? '', '-C', out])
  }
  const time = async (name: string) => (await stat(join(out, 'srv/webapps/ROOT', name))).mtime
  t.strictSame(await time('index.jsp'), new Date(date))
  t.strictSame(await time('WEB-INF/classes/messages_zh.properties'), new Date(date))
  t.not(+(await time('WEB-INF/lib/a-1.0.jar')), Date.parse(date), 'no jar is sent again for it')

  const told = { GITLAB_CI: 'true', CI_COMMIT_SHA: commit, CI_COMMIT_TIMESTAMP: date }
  await rm(join(there, '.git'), { recursive: true })
  const inCi = testContext(t, there, { variables: told })
  const inputs = { ...APP, base: 'scratch', times: 'commit', commit } as const
  t.equal((await runStep(bakeImage, inputs, inCi)).digest, baked.digest, 'as CI tells it')
  await t.rejects(bake(there), {
    code: 'INPUT_INVALID',
    message: `git does not know commit ${commit}`,
  })
  await t.rejects(bake(there, { commit: undefined }), {
    code: 'INPUT_INVALID',
    message: /no commit is named/,
    hint: /--commit/,
  })
})

await t.test(
  'of a Spring Boot application a warning says that browsers keep old files',
  async (t) => {
    const folder = await project(t)
    const bake = async (files: string[], more: object = {}) => {
      const said: string[] = []
      const log = { ...silentLog, warn: (text: string) => void said.push(text) }
      await writeWar(
        join(folder, 'webapi.war'),
        Object.fromEntries(files.map((name) => [name, 'x'])),
      )
      const inputs = { ...APP, base: 'scratch', commit: 'abcdef0', ...more }
      const variables = { CI_COMMIT_TIMESTAMP: '2024-05-06T07:08:09Z' }
      await runStep(bakeImage, inputs, testContext(t, folder, { log, variables }))
      return said
    }
    const [boot, style] = ['WEB-INF/lib/spring-boot-3.4.5.jar', 'WEB-INF/classes/static/app.css']
    t.match(await bake([boot, style]), [/after a deployment .*`image\.times: commit`/])
    t.match(await bake([boot, 'app.css'], { times: 'commit' }), [/after a rollback browsers keep/])
    const quiet: [string[], object?][] = [
      [[boot, 'WEB-INF/classes/application.yml', 'META-INF/MANIFEST.MF']],
      [['WEB-INF/lib/spring-boot-actuator-3.4.5.jar', style]],
      [[boot, style], { warLayout: 'packaged' }],
    ]
    for (const [files, more] of quiet) t.strictSame(await bake(files, more), [], files.join())
  },
)
