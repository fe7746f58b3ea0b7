import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeKey } from '../../src/config/rules/encryption.ts'
import { SET_VARIABLES } from '../../src/core/settings/settings-variables.ts'
import { recordedConfig } from '../../src/delivery/config/environment-config.ts'
import { renderTemplates } from '../../src/delivery/config/rendering.ts'
import type { Deployment } from '../../src/ledger/ledger.ts'
import { configFilesLabel, isAsLabelled } from '../../src/targets/labels.ts'
import { isUnreadable } from '../../src/targets/secret-settings.ts'
import { testContext } from '../support/context.ts'
import { listen } from '../support/setups/sandbox.ts'
import { temporaryFolder } from '../support/temporary.ts'

const PASSWORD = 'open-sesame'
const LICENCE = 'a-licence-key'
const NONE = new Map<string, Buffer>()

interface Given {
  secrets: string
  values?: string
  variables?: Record<string, string>
  user?: string
}

/** One application; each call is a job of its own. */
async function application(t: Test) {
  const folder = await temporaryFolder(t)
  return async ({
    secrets,
    values = `db: { password: ${PASSWORD} }`,
    variables = {},
    user,
  }: Given) => {
    const settings = [
      'app: webapi',
      'ledger: sqlite:ledger.db',
      `container: { secrets: ${secrets}${user === undefined ? '' : `, user: '${user}'`} }`,
      'environments: { test: { image: registry.test/webapi, config: file:test.yaml } }',
    ]
    await writeFile(join(folder, 'crosscloud.yml'), settings.join('\n'))
    await writeFile(join(folder, 'test.yaml'), values)
    const context = testContext(t, folder, { variables })
    return { context, environment: await context.environment('test') }
  }
}

t.test('a secret is a file of its own, and no record or label has it', async (t) => {
  const job = await application(t)
  const given = {
    secrets:
      "{ db: { key: /db/password }, licence: { environment: LICENCE, target: /opt/licence, mode: '0440', gid: 7 } }",
    user: '1000:1001',
    variables: { LICENCE, CROSSCLOUD_CONFIG_KEY: makeKey('2026') },
  }
  const { context, environment } = await job(given)
  const { files, revision, description } = await renderTemplates(environment, NONE, context)
  t.match(files, [
    { path: '/run/secrets/db', content: Buffer.from(PASSWORD), mode: 0o400, uid: 1000, gid: 1001 },
    { path: '/opt/licence', content: Buffer.from(LICENCE), mode: 0o440, uid: 1000, gid: 7 },
  ])
  const label = configFilesLabel(files)
  for (const text of [description, label]) {
    t.notMatch(text, PASSWORD)
    t.notMatch(text, LICENCE)
  }
  t.not(configFilesLabel((await renderTemplates(environment, NONE, context)).files), label)
  const hashes = JSON.parse(label) as Record<string, string>
  t.ok(isAsLabelled(Buffer.from(PASSWORD), hashes['/run/secrets/db']))
  t.notOk(isAsLabelled(Buffer.from('another'), hashes['/run/secrets/db']))
  t.equal(context.secrets.mask(`${PASSWORD} ${LICENCE}`), '*** ***')

  const again = async (more: Partial<Given>) => {
    const next = await job({ ...given, ...more })
    return (await renderTemplates(next.environment, NONE, next.context)).revision
  }
  t.equal(await again({}), revision)
  t.not(await again({ values: 'db: { password: another }' }), revision)
  const changed = { ...given.variables, LICENCE: 'another-licence' }
  t.not(await again({ variables: changed }), revision)
})

t.test('what cannot be a secret file is named before anything runs, all at once', async (t) => {
  const job = await application(t)
  const { context, environment } = await job({
    secrets:
      '{ a: { key: /db/gone }, b: { key: /db/name }, c: { environment: NOBODY }, d: { key: /db/password }, e: { key: /db/password, target: /etc/a } }',
    values: `db: { password: ${PASSWORD}, name: orders }`,
  })
  const templates = new Map([
    ['conf.d/a.toml', Buffer.from('[template]\nsrc = "a.hbs"\ndest = "/etc/a"\nkeys = ["/db"]\n')],
    ['templates/a.hbs', Buffer.from('{{getv "/db/name"}}')],
  ])
  const error = await renderTemplates(environment, templates, context).catch((thrown) => thrown)
  t.match(error, { code: 'INPUT_INVALID' })
  t.same(String(error.message).split('\n'), [
    'container.secrets.a: /db/gone is not set in test',
    'container.secrets.b: nothing says that /db/name is secret',
    'container.secrets.c: the variable NOBODY is not set',
    'container.secrets.e: another file has the path /etc/a',
  ])
  t.same(String(error.hint).split('\n'), [
    '`crosscloud config set --env test /db/gone -` sets it from standard input.',
    'Encrypt it, `crosscloud config set --env test /db/name - --secret`, or mark it in the schema.',
    `${SET_VARIABLES} \`crosscloud config check\` lists all that are not.`,
    'Give each file a path of its own.',
  ])
  for (const [secrets, problem] of [
    ['{ a: {} }', /needs either key or environment/],
    ['{ a: { key: /a, environment: A } }', /needs either key or environment/],
    ['{ a: { key: /a, mode: 0440 } }', /YAML reads 0440 in its own way; write '0440', in quotes/],
    ['{ a: { key: /a, mode: 0o440 } }', /YAML reads 0440 in its own way; write '0440', in quotes/],
    ["{ a: { key: /a, mode: '0999' } }", /is not a mode; write '0400'/],
    ["{ a: { key: /a, mode: '0200' } }", /lets nobody read it/],
    ['{ a: { key: /a, target: ../b } }', /neither a file name nor a path/],
    ['{ a: { key: /a }, b: { key: /a, target: a } }', /has two secrets at \/run\/secrets\/a/],
    ['{ a: { key: /a } }, read-only: true', /places none with read-only/],
    ['{ a: { key: /a } }, tmpfs: [/run]', /in a folder of tmpfs/],
  ] as const) {
    await t.rejects(job({ secrets }), { code: 'INPUT_INVALID', message: problem }, secrets)
  }
})

t.test('a file that the user of the container cannot read is warned of', async (t) => {
  const job = await application(t)
  const warnings = async (secret: string, user?: string, image?: string) => {
    const secrets = `{ db: { key: /db/password${secret} } }`
    const { context, environment } = await job({ secrets, ...(user && { user }) })
    const { log, text } = listen()
    await renderTemplates(environment, NONE, { ...context, log }, { user: image })
    return text()
  }
  t.match(
    await warnings(", uid: 0, gid: 0, mode: '0440'", '1000:1000'),
    "container.secrets.db: /run/secrets/db belongs to 0:0 with the mode 0440, and the container's user, 1000:1000, cannot read it; set its uid or gid",
  )
  t.match(await warnings('', undefined, 'tomcat'), "the image's user, tomcat, cannot read it")
  t.equal(await warnings('', '1000', 'tomcat'), '', 'a numeric user owns its secrets')
  t.equal(await warnings(''), '', 'root reads all')

  const unreadable = (user: string, mode: number, uid = 0, gid = 0) =>
    isUnreadable({ mode, uid, gid }, user)
  t.ok(unreadable('1000:1000', 0o440))
  t.ok(unreadable('1000:1000', 0o040, 1000, 1000), 'of an owner only its own bits count')
  t.ok(unreadable('1000:1000', 0o404, 0, 1000), 'and of a group')
  t.ok(unreadable('1000', 0o400))
  t.ok(unreadable('tomcat:tomcat', 0o400))
  t.notOk(unreadable('1000:1000', 0o440, 0, 1000))
  t.notOk(unreadable('1000:1000', 0o444))
  t.notOk(unreadable('1000', 0o440), 'its groups are not known')
  t.notOk(unreadable('tomcat', 0o440), 'nor those of a name')
  t.notOk(unreadable('tomcat', 0o400, 1001), 'nor its number')
  for (const root of ['', '0', '0:0', 'root', 'root:root']) t.notOk(unreadable(root, 0o400, 5, 5))
})

t.test('the config of then has the variables and the later secrets of now', async (t) => {
  const job = await application(t)
  const then = await job({ secrets: '{ a: { environment: LICENCE } }', variables: { LICENCE } })
  const { revision, description } = await renderTemplates(then.environment, NONE, then.context)
  await (await then.context.ledger()).recordConfigRevision(revision, description)
  await then.context.close()
  const now = await job({
    secrets: '{ a: { environment: LICENCE }, b: { key: /db/password } }',
    variables: { LICENCE: 'of-now-on' },
  })
  const deployment = { id: 'd1', configRevision: revision } as Deployment
  const values = await recordedConfig(deployment, now.environment, now.context)
  t.strictSame([...values], [['/db/password', PASSWORD]])
  const rendering = await renderTemplates(now.environment, NONE, now.context, { snapshot: values })
  t.same(
    rendering.files.map(({ content }) => String(content)),
    ['of-now-on', PASSWORD],
  )
})
