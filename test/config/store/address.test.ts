import t from 'tap'
import { parseStoreAddress } from '../../../src/config/store/address.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { parseSettings } from '../../support/data/settings.ts'

const read = (config: string, variables = {}) =>
  parseSettings(
    `app: a\nenvironments:\n  test:\n    image: registry.test/a\n    config: ${config}\n`,
    'crosscloud.yml',
    variables,
    createSecrets(),
  )

t.test('an address names its kind of store, and any other is refused', async (t) => {
  t.strictSame(parseStoreAddress('file:config/test.yaml'), {
    kind: 'file',
    path: 'config/test.yaml',
  })
  t.strictSame(parseStoreAddress('file:///etc/a.yaml'), { kind: 'file', path: '/etc/a.yaml' })
  t.strictSame(parseStoreAddress('config/test.yaml'), { kind: 'file', path: 'config/test.yaml' })
  t.match(parseStoreAddress('rediss+sentinel://a/master'), {
    kind: 'redis',
    redis: { kind: 'sentinel', tls: true },
  })
  t.match(parseStoreAddress('etcds://a,b/prod'), { kind: 'etcd', etcd: { prefix: '/prod' } })
  t.throws(() => parseStoreAddress('zookeeper://a'), {
    code: 'INPUT_INVALID',
    message: 'config centre "zookeeper:…" is not known',
    hint: /redis:\/\//,
  })
})

t.test('settings are read with a typed address', async (t) => {
  const settings = await read('{ url: rediss://config/3, ca: ca.pem }')
  t.match(settings.environments.test?.config, {
    url: { kind: 'redis', redis: { db: 3, tls: true } },
    ca: 'ca.pem',
  })
})

t.test('a wrong address is reported with its line, how to write it, and no password', async (t) => {
  for (const config of ['redis://u:hidden@a b/0', '{ url: "redis://u:hidden@a b/0" }']) {
    const error = await t.rejects(read(config), {
      code: 'INPUT_INVALID',
      message:
        /^crosscloud\.yml:5 environments\.test\.config(\.url)? the URL of the config centre is not one of Redis\. Write redis:/,
    })
    t.notMatch(String(error), 'hidden')
  }
})

t.test('an address with a variable that is not set is an error only when it is used', async (t) => {
  for (const config of [
    '${CONFIG}',
    '{ url: "${CONFIG}" }',
    '{ url: "redis://:${CONFIG}@a" }',
    '{ url: "redis://${CONFIG}/0" }',
    'redis://${CONFIG}/0',
  ]) {
    const settings = await read(config)
    t.throws(
      () => {
        const { url } = settings.environments.test?.config ?? {}
        return url
      },
      { message: /variable CONFIG is not set/ },
      config,
    )
  }
  const settings = await read('${CONFIG}', { CONFIG: 'etcd://u:secret@a/x' })
  t.match(settings.environments.test?.config, { url: { kind: 'etcd' } })
})
