import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startRegistry } from '../../src/registry-server/server.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { release } from '../../src/steps/release.ts'
import { testContext } from '../support/context.ts'
import { writeWar } from '../support/data/war.ts'
import { makeRepository } from '../support/servers/git.ts'
import { temporaryFolder } from '../support/temporary.ts'

const TEMPLATE = 'greeting={{getv "/webapi/greeting"}}\n'
const files = {
  '.gitignore': 'target\n.crosscloud\n.cache\n.docker\n.local\nregistry\n',
  'config/test.yaml': 'webapi:\n  greeting: hello\n',
  'deploy/conf.d/webapi.toml':
    '[template]\nsrc = "webapi.hbs"\ndest = "/etc/webapi.properties"\nkeys = ["/webapi"]\n',
  'deploy/templates/webapi.hbs': TEMPLATE,
}

/** A project whose `mvn` is a script: `build` is what it does beside leaving a WAR. */
async function project(t: Test) {
  const folder = await temporaryFolder(t)
  const tools = await temporaryFolder(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  await writeWar(join(tools, 'webapi.war'), { 'WEB-INF/web.xml': '<web-app/>', 'index.jsp': 'hi' })
  const write = async (path: string, text: string) => {
    await mkdir(join(folder, path, '..'), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const settings = (hosts: string) =>
    write(
      'crosscloud.yml',
      `app: webapi
war: { path: target/webapi.war }
image: { base: scratch, webapp: /srv/ROOT, templates: deploy }
environments:
  test:
    image: ${registry.address}/team/webapi
    config: file:config/test.yaml
    ${hosts}
`,
    )
  const build = async (more: string) => {
    const script = `#!/bin/sh\necho built >> .crosscloud/builds\nmkdir -p target\ncp ${tools}/webapi.war target/\n${more}\n`
    await writeFile(join(tools, 'mvn'), script)
    await chmod(join(tools, 'mvn'), 0o755)
  }
  const path = process.env.PATH
  process.env.PATH = `${tools}:${path}`
  t.teardown(() => {
    process.env.PATH = path
  })
  const repository = await makeRepository(folder)
  await settings('hosts: { app-01: unix:///nowhere/docker.sock }')
  await mkdir(join(folder, '.crosscloud'))
  await build('true')
  await repository.commit(files)
  const context = testContext(t, folder)
  return {
    folder,
    repository,
    write,
    settings,
    build,
    context,
    builds: async () =>
      (await readFile(join(folder, '.crosscloud/builds'), 'utf8').catch(() => '')).split('\n')
        .length - 1,
    /** Uploads that the registry was asked for, and releases that the ledger knows. */
    traces: async () => ({
      pushed: registry.requests.filter(({ method }) => method !== 'GET' && method !== 'HEAD')
        .length,
      recorded: (await (await context.ledger()).releases('webapi', 10)).length,
    }),
  }
}

await t.test(
  'what could not be deployed in the end is not built, pushed or recorded',
  async (t) => {
    const { folder, write, settings, build, context, builds, traces } = await project(t)
    const faults: [string, () => Promise<unknown>, RegExp][] = [
      [
        'a broken template',
        () => write('deploy/templates/webapi.hbs', 'greeting={{getv "/webapi/greeting"'),
        /webapi\.hbs/,
      ],
      [
        'a value that is missing',
        () => write('config/test.yaml', 'webapi: { other: x }\n'),
        /\/webapi\/greeting is missing in test/,
      ],
      [
        'a schema that the values break',
        () => write('deploy/config.schema.yaml', '/webapi/greeting: { type: integer }\n'),
        /\/webapi\/greeting/,
      ],
      ['no hosts', () => settings(''), /environment test has no hosts/],
      [
        'an environment that comes after another',
        () => settings(`from: first\n  first: { image: registry.test/first }`),
        /^a release begins in the first environment, and test comes after first$/,
      ],
    ]
    for (const [what, spoil, message] of faults) {
      await spoil()
      const own = testContext(t, folder)
      await t.rejects(
        runStep(release, { env: 'test' }, own),
        { code: 'INPUT_INVALID', message },
        what,
      )
      for (const [path, text] of Object.entries(files)) await write(path, text)
      await rm(join(folder, 'deploy/config.schema.yaml'), { force: true })
      await settings('hosts: { app-01: unix:///nowhere/docker.sock }')
    }
    t.equal(await builds(), 0, 'reported before the build')

    await build('printf "webapi: {}" > config/test.yaml')
    await t.rejects(runStep(release, { env: 'test' }, context), {
      message: /\/webapi\/greeting is missing in test/,
    })
    t.equal(await builds(), 1)
    await rm(join(folder, 'deploy'), { recursive: true })
    await build(
      'mkdir -p deploy/conf.d deploy/templates; git show HEAD:deploy/conf.d/webapi.toml > deploy/conf.d/webapi.toml; echo "{{#if" > deploy/templates/webapi.hbs',
    )
    await t.rejects(runStep(release, { env: 'test', deploy: false }, context), {
      code: 'INPUT_INVALID',
      message: /webapi\.hbs/,
    })
    t.strictSame(await traces(), { pushed: 0, recorded: 0 })
  },
)

await t.test('a release without its deployment needs no config', async (t) => {
  const { write, context, traces } = await project(t)
  await write('config/test.yaml', 'webapi: { other: x }\n')
  t.match(await runStep(release, { deploy: false }, context), { release: 'webapi@1.0.0' })
  t.match(await traces(), { recorded: 1 })
})

await t.test('files that are in no commit are neither the commit nor the tag', async (t) => {
  const { repository, write, context } = await project(t)
  await repository.git('tag', 'v1.4.2')
  const commit = await repository.git('rev-parse', 'HEAD')
  await write('deploy/templates/webapi.hbs', `${TEMPLATE}more=yes\n`)
  const dirty = await runStep(release, { deploy: false }, context)
  t.not(dirty.release, 'webapi@1.4.2')
  await repository.git('checkout', '--quiet', '.')
  t.match(await runStep(release, { deploy: false }, context), { release: 'webapi@1.4.2' })
  const known = await (await context.ledger()).releases('webapi', 10)
  t.match(known, [
    { version: '1.4.2', commit, author: 'Li <li@example.com>' },
    { version: '1.0.0', commit: `${commit}+dirty`, author: 'Li <li@example.com>' },
  ])
})
