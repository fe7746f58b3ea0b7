import t from 'tap'
import { parseRedisUrl } from '../../src/redis/address.ts'

t.test('a URL of each kind is read, and any other is refused', async (t) => {
  const table: [url: string, expected: object | undefined][] = [
    [
      'redis://config',
      {
        kind: 'single',
        tls: false,
        nodes: [{ host: 'config', port: 6379 }],
        db: 0,
        name: 'redis://config',
      },
    ],
    [
      'rediss://u:p%40ss@config:7/3',
      {
        tls: true,
        username: 'u',
        password: 'p@ss',
        nodes: [{ port: 7 }],
        db: 3,
        name: 'rediss://config:7/3',
      },
    ],
    [
      'redis://:secret@[::1]:6380',
      { username: undefined, password: 'secret', nodes: [{ host: '::1', port: 6380 }] },
    ],
    ['redis+unix:///run/redis.sock?db=2', { kind: 'unix', socket: '/run/redis.sock', db: 2 }],
    [
      'redis+sentinel://a,b:1/mymaster/4',
      { kind: 'sentinel', nodes: [{ port: 26379 }, { port: 1 }], master: 'mymaster', db: 4 },
    ],
    [
      'rediss+cluster://a:1,b:2',
      { kind: 'cluster', tls: true, nodes: [{ host: 'a' }, { host: 'b' }] },
    ],
    ['redis://', undefined],
    ['redis://a,b', undefined],
    ['redis://a/x', undefined],
    ['redis://a:99999', undefined],
    ['redis://a?db=1', undefined],
    ['redis+unix://host/x', undefined],
    ['redis+sentinel://a', undefined],
    ['redis+cluster://a/1', undefined],
    ['redis://u:%zz@a', undefined],
    ['http://a', undefined],
  ]
  for (const [url, expected] of table) {
    if (expected) t.match(parseRedisUrl(url), expected, url)
    else t.throws(() => parseRedisUrl(url), { code: 'INPUT_INVALID' }, url)
  }
})

t.test('the error of a wrong URL shows no password', async (t) => {
  t.throws(() => parseRedisUrl('redis://u:hidden@a b'), {
    message: /^(?!.*hidden).* is not one of Redis/,
  })
})
