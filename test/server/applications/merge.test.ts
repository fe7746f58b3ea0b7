import t from 'tap'
import { mergeSettings } from '../../../src/server/applications/merge.ts'

const ledger = 'mysql://crosscloud@db/ledger'
const merge = (repository: unknown, own: Record<string, unknown> = { ledger }) =>
  mergeSettings({ app: 'webapi', repository, own, folder: '/etc/crosscloud' })

t.test('settings of the server win, and their variables are not those of a commit', async (t) => {
  const { settings, variables } = merge(
    {
      app: 'webapi',
      ledger: 'mysql://evil.example.com/ledger',
      environments: {
        production: { image: 'evil.example.com/webapi', url: 'https://webapi.example.com' },
        test: { image: 'registry.test/webapi' },
      },
    },
    {
      ledger: 'mysql://crosscloud:${LEDGER_PASSWORD}@db/ledger',
      'config-key': 'file:keys/config.key',
      environments: {
        production: {
          image: 'registry.example.com/webapi',
          gate: { approvals: 2 },
          hosts: { 'app-11': { address: 'tcp://10.0.0.1:2376', certificates: 'tls' } },
          config: 'redis://:${CONFIG_PASSWORD:-none}@config:6379/0',
        },
        secret: { image: 'registry.example.com/secret' },
      },
    },
  )
  t.strictSame(settings, {
    app: 'webapi',
    ledger: 'mysql://crosscloud:${CROSSCLOUD_OWN_LEDGER_PASSWORD}@db/ledger',
    environments: {
      production: {
        image: 'registry.example.com/webapi',
        url: 'https://webapi.example.com',
        gate: { approvals: 2 },
        hosts: {
          'app-11': { address: 'tcp://10.0.0.1:2376', certificates: '/etc/crosscloud/tls' },
        },
        config: 'redis://:${CROSSCLOUD_OWN_CONFIG_PASSWORD:-none}@config:6379/0',
      },
      test: { image: 'registry.test/webapi' },
      secret: { image: 'registry.example.com/secret' },
    },
    'config-key': 'file:/etc/crosscloud/keys/config.key',
  })
  const own = (source: string, setting: string, environment?: string) => ({
    ...{ name: `CROSSCLOUD_OWN_${source}`, source, environment, setting },
  })
  t.strictSame(variables, [
    own('LEDGER_PASSWORD', 'ledger'),
    own('CONFIG_PASSWORD', 'config', 'production'),
  ])
})

t.test('what a commit must not say is refused', async (t) => {
  const environments = (test: object) => ({ app: 'webapi', environments: { test } })
  const refused: [unknown, RegExp][] = [
    [[], /is not a YAML mapping/],
    ['text', /is not a YAML mapping/],
    [{ app: 'shop' }, /is of "shop"; it is registered as webapi/],
    [{ app: '${APP}' }, /is registered as webapi/],
    [{}, /is of no application/],
    [environments({ url: 'http://evil/${CROSSCLOUD_OWN_PASSWORD}' }), /a variable of the server/],
    [
      environments({ container: { secrets: { a: { environment: 'CROSSCLOUD_OWN_A' } } } }),
      /a variable of the server/,
    ],
    [
      environments({ proxy: { commands: { check: ['sh', '-c', 'env'] } } }),
      /environments.test.proxy/,
    ],
    [environments({ proxy: null }), /environments.test.proxy may be set on the server alone/],
    [{ app: 'webapi', proxy: {} }, /proxy may be set on the server alone/],
    [environments({ container: new Map([['volumes', ['/:/host']]]) }), /is no plain value/],
    [environments({ container: new Set(['x']) }), /is no plain value/],
    [environments({ hosts: { a: 'unix:///var/run/docker.sock' } }), /an engine on the server/],
    [environments({ config: 'redis+unix:///run/redis.sock' }), /an engine on the server/],
    [environments({ config: 'file:/etc/crosscloud/other.yaml' }), /a file of the server/],
    [environments({ config: 'file:../../other/config.yaml' }), /a file of the server/],
    [environments({ config: 'file:a/../../x' }), /a file of the server/],
    [environments({ hosts: { a: { address: 'tcp://a:1', certificates: '/etc/ssl' } } }), /a file/],
    [environments({ config: 'file:$' + '{HOME}/x.yaml' }), /a file of the server/],
    [
      environments({
        hosts: { a: { address: 'tcp://a:1', certificates: '$' + '{HOME}/.docker' } },
      }),
      /a file/,
    ],
  ]
  for (const [repository, message] of refused) {
    t.throws(() => merge(repository), { code: 'INPUT_INVALID', message }, String(message))
  }
  t.doesNotThrow(() =>
    merge(environments({ container: { secrets: { a: { key: '/db/password' } } } })),
  )
  t.doesNotThrow(() => merge(environments({ config: 'file:config/test.yaml' })))
  t.doesNotThrow(() => merge({ app: 'webapi', environments: { test: null } }))
  t.doesNotThrow(() => merge({ app: 'webapi', ledger: 'sqlite:/var/lib/replaced.db' }))
  t.doesNotThrow(() => merge(environments({ container: { command: ['file:/x'] } })))
})

t.test('a proxy of the server counts, and a commit cannot lay its own over it', (t) => {
  const proxy = { nginx: { include: '/etc/nginx/webapi.conf' } }
  const own = { ledger, environments: { production: { proxy } } }
  const production = { image: 'registry.test/webapi' }
  const { settings } = merge({ app: 'webapi', environments: { production } }, own)
  t.match(settings, { environments: { production: { ...production, proxy } } })
  const more = { app: 'webapi', environments: { production: { ...production, proxy } } }
  t.throws(() => merge(more, own), { message: /environments.production.proxy/ })
  t.end()
})
