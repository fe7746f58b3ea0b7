import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeKey, parseKeyRing, seal } from '../../src/config/rules/encryption.ts'
import { hideConfigSecrets } from '../../src/delivery/config/known-secrets.ts'
import { renderTemplates } from '../../src/delivery/config/rendering.ts'
import { recordRevision } from '../../src/delivery/deployment/record.ts'
import { testContext } from '../support/context.ts'
import { temporaryFolder } from '../support/temporary.ts'

const [FIRST, SECOND] = [makeKey('2026'), makeKey('2027')]
const TEMPLATES = new Map(
  Object.entries({
    'conf.d/a.toml': '[template]\nsrc = "a.hbs"\ndest = "/etc/a"\nkeys = ["/db"]\n',
    'templates/a.hbs': '{{getv "/db/user"}}:{{getv "/db/password"}}\n',
  }).map(([path, text]) => [path, Buffer.from(text)] as const),
)

/** One application and its ledger; each rendering is of a job of its own, with the keys it is given. */
async function application(t: Test) {
  const folder = await temporaryFolder(t)
  const settings = [
    'app: webapi',
    'ledger: sqlite:ledger.db',
    'environments: { test: { image: registry.test/webapi, config: file:test.yaml } }',
  ]
  await writeFile(join(folder, 'crosscloud.yml'), settings.join('\n'))
  return async (password: string, key?: string) => {
    const text = `db: { user: app, password: ${JSON.stringify(password)} }\n`
    await writeFile(join(folder, 'test.yaml'), text)
    const variables = key === undefined ? {} : { CROSSCLOUD_CONFIG_KEY: key }
    const context = testContext(t, folder, { variables })
    const environment = await context.environment('test')
    const { revision: name, description: content } = await renderTemplates(
      ...[environment, TEMPLATES, context],
    )
    await recordRevision({ name, content }, await context.ledger())
    await context.close()
    return { name, content }
  }
}

t.test('a deployment again is recorded again, though its secret lies in clear', async (t) => {
  const deploy = await application(t)
  const first = await deploy('open-sesame', FIRST)
  t.match(first.content, '"secret":"enc:v1:2026:', 'kept, encrypted')
  t.strictSame(await deploy('open-sesame', FIRST), first)
  const ring = parseKeyRing(FIRST, 'the test')
  const sealed = [1, 2].map(() => seal(ring, '/db/password', 'open-sesame'))
  t.not(sealed[0], sealed[1])
  for (const text of sealed)
    t.strictSame(await deploy(text, FIRST), first, 'encrypted in the store')
  t.not((await deploy('another', FIRST)).name, first.name)
})

t.test('a key that is added changes no revision', async (t) => {
  const deploy = await application(t)
  const first = await deploy('open-sesame', FIRST)
  const both = await deploy('open-sesame', `${SECOND},${FIRST}`)
  t.equal(both.name, first.name)
  t.match(both.content, '"secret":"enc:v1:2027:')
})

t.test('without a key nobody finds a password by its revision', async (t) => {
  const deploy = await application(t)
  const first = await deploy('0000')
  t.strictSame(await deploy('4711'), first)
  t.notMatch(first.content, '0000')
  const other = await application(t)
  t.not((await other('4711', FIRST)).name, first.name)
})

t.test(
  'secrets of a config are masked in what instances say, as far as it can be read',
  async (t) => {
    const folder = await temporaryFolder(t)
    const settings = [
      'app: webapi',
      'environments:',
      '  test: { image: registry.test/webapi, config: file:test.yaml }',
      '  bare: { image: registry.test/webapi }',
      '  open: { image: registry.test/webapi, config: "${NO_SUCH_PLACE}" }',
    ]
    await writeFile(join(folder, 'crosscloud.yml'), settings.join('\n'))
    const look = async (name: string, key?: string) => {
      const variables = key === undefined ? {} : { CROSSCLOUD_CONFIG_KEY: key }
      const context = testContext(t, folder, { variables })
      const lack = await hideConfigSecrets(await context.environment(name), context)
      return { lack, said: context.secrets.mask('open-sesame, second-secret, hello') }
    }
    const ring = parseKeyRing(FIRST, 'the test')
    const sealed = JSON.stringify(seal(ring, '/db/token', 'second-secret'))
    const text = `db: { password: open-sesame, token: ${sealed} }\ngreeting: hello\n`
    const nothing = { lack: undefined, said: 'open-sesame, second-secret, hello' }
    t.match(await look('test'), { lack: /cannot be read: .*test\.yaml/, said: nothing.said })
    await writeFile(join(folder, 'test.yaml'), text)
    t.same(await look('test', FIRST), { lack: undefined, said: '***, ***, hello' })
    t.match(await look('test'), {
      lack: /not given here: \/db\/token$/,
      said: '***, second-secret',
    })
    t.same(await look('bare'), nothing)
    t.match(await look('open'), { lack: /cannot be read: .*NO_SUCH_PLACE/, said: nothing.said })
  },
)
