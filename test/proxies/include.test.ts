import t from 'tap'
import { type Include, parseInclude, renderInclude } from '../../src/proxies/nginx/include.ts'

const include: Include = {
  upstream: 'webapi-production',
  sessions: 'cookie',
  generation: 7,
  servers: [
    {
      server: { host: 'app-01', slot: 1, address: '10.0.0.11', port: 18081 },
      isIn: true,
      weight: 10,
    },
    {
      server: { host: 'app-01', slot: 2, address: 'fd00::11', port: 18082 },
      isIn: false,
      weight: 100,
    },
  ],
}

t.test('what is written is read back, whatever keeps the sessions', async (t) => {
  for (const sessions of ['cookie', 'ip-hash', 'none'] as const) {
    const read = parseInclude(renderInclude({ ...include, sessions }), include.upstream)
    t.equal(read?.generation, 7)
    t.same(
      [...(read?.servers ?? [])],
      [
        ['10.0.0.11:18081', { isIn: true, weight: 10 }],
        ['[fd00::11]:18082', { isIn: false, weight: 100 }],
      ],
    )
  }
})

t.test('a file of others is none of ours', async (t) => {
  const text = renderInclude(include)
  t.equal(parseInclude(text, 'webapi-test'), undefined)
  t.equal(parseInclude(text.replace('# generation 7', ''), include.upstream), undefined)
  t.equal(parseInclude('', include.upstream), undefined)
})

t.test('a file says whose it is, and one from before that line is of nobody', async (t) => {
  const owner = { application: 'a-b', environment: 'c' }
  const text = renderInclude({ ...include, owner })
  t.match(text, '\n# of a-b in c\n# generation 7\n')
  t.strictSame(parseInclude(text, include.upstream)?.owner, owner)
  t.equal(parseInclude(renderInclude(include), include.upstream)?.owner, undefined)
})
