import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeKey } from '../../src/config/rules/encryption.ts'
import { SET_VARIABLES } from '../../src/core/settings/settings-variables.ts'
import { recordedConfig } from '../../src/delivery/config/environment-config.ts'
import { renderTemplates } from '../../src/delivery/config/rendering.ts'
import type { Deployment } from '../../src/ledger/ledger.ts'
import { configFilesLabel, isAsLabelled } from '../../src/targets/labels.ts'
import { testContext } from '../support/context.ts'
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
    ['{ a: { key: /a, mode: 0400 } }', /write '0400', in quotes/],
    ['{ a: { key: /a, target: ../b } }', /neither a file name nor a path/],
    ['{ a: { key: /a }, b: { key: /a, target: a } }', /has two secrets at \/run\/secrets\/a/],
    ['{ a: { key: /a } }, read-only: true', /places none with read-only/],
    ['{ a: { key: /a } }, tmpfs: [/run]', /in a folder of tmpfs/],
  ] as const) {
    await t.rejects(job({ secrets }), { code: 'INPUT_INVALID', message: problem }, secrets)
  }
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
  const rendering = await renderTemplates(now.environment, NONE, now.context, values)
  t.same(
    rendering.files.map(({ content }) => String(content)),
    ['of-now-on', PASSWORD],
  )
})
