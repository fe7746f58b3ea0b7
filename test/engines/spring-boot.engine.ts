import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { runCli } from '../support/cli.ts'
import { browser } from '../support/servers/browser.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { bootArgs, noSpringBoot, STYLE, writeBoot } from './spring-boot.ts'

t.setTimeout(580_000)
const made = (await noSpringBoot()) || (await createDemo(t))
if (typeof made === 'string') await t.test('Spring Boot', { skip: made }, async () => {})
else {
  await t.test("static files of Spring Boot change in browsers with the commit's time", (t) =>
    serve(t, made),
  )
}

async function serve(t: Test, demo: Demo): Promise<void> {
  const folder = await temporaryFolder(t)
  await writeBoot(folder, 'h1 { color: teal }')
  await writeSettings(folder, demo)
  const commit = async (date: string) => {
    const env = { GIT_COMMITTER_DATE: date, GIT_AUTHOR_DATE: date }
    const git = ['-c', 'user.name=Li', '-c', 'user.email=li@example.com']
    for (const args of [
      ['init', '-q'],
      ['add', STYLE],
      ['commit', '-qm', date],
    ])
      await run('git', [...git, ...args], { cwd: folder, env })
  }
  const json = async (...args: string[]) => {
    const env = { CROSSCLOUD_CACHE: join(folder, '.cache') }
    const { code, stdout, stderr } = await runCli([...args, '--json'], { cwd: folder, env })
    if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stderr}`)
    return { ...(JSON.parse(stdout) as { url: string }), warnings: stderr }
  }

  await commit('2024-05-06T07:08:09Z')
  const first = await json('release', '--env', 'test')
  t.match(first.warnings, /Spring Boot serves static files without ETags/)
  const ask = browser(first.url)
  t.match(await ask('app.css'), { status: 200, text: 'h1 { color: teal }', etag: null })
  t.match(await ask('app.css'), { status: 304 })

  await writeFile(join(folder, STYLE), 'h1 { color: pink }')
  await commit('2024-05-07T07:08:09Z')
  ask.goTo((await json('release', '--env', 'test')).url)
  t.match(await ask('app.css'), { status: 200, text: 'h1 { color: pink }' })
  t.match(await ask('app.css'), { status: 304 })

  ask.goTo((await json('rollback', '--env', 'test', '--reason', 'too pink')).url)
  t.match(await ask('app.css'), { status: 304 }, 'the limit that docs/image.md names')
}

async function writeSettings(folder: string, { project, addresses, engine }: Demo) {
  const { image } = parse(await readFile(join(project, 'crosscloud.yml'), 'utf8'))
  const settings = {
    app: 'boot',
    war: { path: 'target/boot.war', args: bootArgs },
    image: { base: image.base, webapp: image.webapp, times: 'commit' },
    ledger: 'sqlite:.crosscloud/ledger.db',
    container: {
      ports: ['127.0.0.1::8080'],
      health: { http: ':8080/app.css', timeout: '120s' },
    },
    environments: {
      test: { image: `${addresses[0]}/team/boot`, hosts: { here: engine.address } },
    },
  }
  await writeFile(join(folder, 'crosscloud.yml'), stringify(settings))
}
