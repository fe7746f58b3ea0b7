import t from 'tap'
import { type Plan, planSchema } from '../../src/delivery/plan/schema.ts'
import { planMarkdown } from '../../src/surface/plan-markdown.ts'
import { planLines } from '../../src/surface/plan-text.ts'
import { bytesText, orderText, planFailure } from '../../src/surface/plan-words.ts'

const digest = `sha256:${'a'.repeat(64)}`

function plan(more: Partial<Plan> = {}): Plan {
  const nothing = {
    runs: null,
    lacks: null,
    slot: null,
    access: [],
    leftovers: [],
    restores: null,
    error: null,
  }
  return planSchema.parse({
    kind: 'deploy',
    release: 'webapi@1.0.1',
    environment: 'test',
    digest,
    warMd5: 'd41d8cd98f00b204e9800998ecf8427e',
    from: null,
    to: { name: 'webapi@1.0.1', digest, commit: null },
    commits: { known: false, why: 'nothing runs there yet', added: [], removed: [] },
    config: { before: null, after: digest, known: false, keys: [], files: [] },
    image: { reference: `registry.test/webapi@${digest}`, layers: 3, bytes: 1500, copy: null },
    hosts: [{ name: 'app-01', address: 'ssh://app-01', action: 'create', ...nothing }],
    rollout: {
      before: null,
      after: null,
      onFailure: 'restore',
      stages: [{ do: 'change', hosts: ['app-01'], milliseconds: null }],
    },
    lock: null,
    ready: true,
    problems: [],
    warnings: [],
    hash: digest,
    ...more,
  })
}

const commit = (at: number, subject: string) => ({
  id: String(at).padStart(40, '0'),
  author: 'li',
  at: '2026-01-31T12:00:00+01:00',
  subject,
})

t.test('what others wrote is only shown in Markdown', async (t) => {
  const evil = '@all </details><script>x</script> ![](http://x) `a` | #1\n- b\u001b[31m'
  const hostile = plan({
    ready: false,
    commits: { known: true, why: null, added: [commit(1, evil)], removed: [] },
    config: {
      before: 'sha256:b',
      after: digest,
      known: true,
      files: [],
      keys: [{ key: '/a|b', change: 'changed', before: evil, after: '"x"' }],
    },
    problems: [
      {
        check: 'lock',
        code: 'CONFLICT',
        retryable: false,
        message: `webapi in test is locked by li (${evil})`,
        hint: 'Wait, or `crosscloud unlock --env test`.',
      },
    ],
    warnings: ['host @x was taken out'],
  })
  const text = planMarkdown(hostile)
  const outside = text.replaceAll(/`[^`\n]*`/g, '')
  for (const mark of ['@', '<script', '](', '#1', '\u001b']) t.notMatch(outside, mark)
  t.equal(outside.match(/<\/details>/g)?.length, outside.match(/<details>/g)?.length)
  t.match(text, '`crosscloud unlock --env test`')
  const lines = planLines(hostile)
  t.ok(lines.every((line) => !line.includes('\n')))
})

t.test('a plan says what the proxy has, and what it is told', async (t) => {
  const server = { address: '10.0.0.11:18081', mode: 'in' as const, up: true, weight: 100 }
  const proxied = plan({
    proxy: {
      name: 'HAProxy on lb-01',
      leftover: 'a change was interrupted',
      canary: 10,
      hosts: [
        {
          name: 'app-01',
          out: false,
          steps: [
            { do: 'put in', server: 'app-01-2' },
            { do: 'take out', server: 'app-01-1' },
          ],
        },
        { name: 'app-02', out: true, steps: [] },
      ],
      servers: [
        { ...server, name: 'app-01-1', up: false },
        { ...server, name: 'app-02-1', mode: 'out', weight: 30 },
      ],
    },
  })
  const lines = [
    'HAProxy on lb-01: app-01-1 in but down, app-02-1 out with 30 %',
    'first repairs: a change was interrupted',
    'put in app-01-2, then take out app-01-1',
    'app-02 is out of it: somebody took it out, and it stays out',
    'the canary gets 10 % of all requests',
  ]
  const shown = planLines(proxied).join('\n')
  for (const line of lines) t.ok(shown.includes(line), line)
  for (const line of lines) t.ok(planMarkdown(proxied).includes(`- \`${line}\``), line)
  t.notMatch(planLines(plan()).join('\n'), /Proxy/)
  const alone = proxied.proxy && { ...proxied.proxy, canary: 100 }
  t.match(
    planLines(plan({ proxy: alone })).join('\n'),
    'gets all requests, as no other host serves',
  )
})

t.test('a plan of a rollback names what it skips, and why', async (t) => {
  const skipped = [
    {
      release: 'webapi@1.0.1',
      by: 'li',
      at: '2026-01-31T12:00:00.000Z',
      reason: 'orders\n@all fail',
    },
  ]
  const back = plan({ kind: 'rollback', skipped })
  const line = planLines(back).find((each) => each.startsWith('Skipped'))
  t.match(line, /^Skipped {2}webapi@1\.0\.1: marked bad by li since 2026-01-31T\S+ orders/)
  t.match(planMarkdown(back), /\n- `webapi@1\.0\.1: marked bad by li since \S+ orders @all fail`\n/)
  for (const text of [planLines(plan()).join('\n'), planMarkdown(plan())])
    t.notMatch(text, 'Skipped')
})

t.test('long lists are cut short, and say so', async (t) => {
  const added = Array.from({ length: 500 }, (_, at) => commit(at, 'x'.repeat(500)))
  const long = plan({ commits: { known: true, why: null, added, removed: [] } })
  t.match(planMarkdown(long), /500 commits come.*and 470 more/s)
  t.ok(planMarkdown(long).length < 20_000)
  t.ok(planLines(long).some((line) => line.includes('and 488 more')))
})

t.test('a plan that is ready is no failure, any other ends with 1', async (t) => {
  t.equal(planFailure(plan()), undefined)
  const problem = { code: 'UNAVAILABLE', message: 'x', hint: null, retryable: true }
  const problems = [{ ...problem, check: 'hosts' as const }]
  t.equal(planFailure(plan({ ready: false, problems }))?.exitCode, 1)
})

t.test('bytes are counted by thousands', async (t) => {
  t.same([0, 999, 1000, 1500, 123_456_789, 5e12].map(bytesText), [
    ...['0 B', '999 B', '1.0 kB', '1.5 kB', '123 MB', '5000 GB'],
  ])
})

t.test('the order of hosts is shown with what runs before, between and after them', async (t) => {
  const stage = (what: 'change' | 'watch' | 'pause', hosts: string[], milliseconds = 0) => ({
    do: what,
    hosts,
    milliseconds,
  })
  const stages = [
    stage('change', ['app-01']),
    stage('watch', ['app-01'], 60_000),
    stage('change', ['app-02', 'app-03']),
    stage('pause', [], 1500),
    stage('change', ['app-04']),
  ]
  const rollout = { before: ['migrate', '--apply'], stages, after: ['warm-up'] }
  const ordered = plan({ rollout: { ...rollout, onFailure: 'stop' } })
  t.equal(
    orderText(ordered),
    'run migrate --apply, then app-01, then watch app-01 for 60 s, then app-02 and app-03, then wait 1.5 s, then app-04, then run warm-up',
  )
  t.match(planLines(ordered).join('\n'), /changed keep the new release, the rest is not touched/)
  t.match(planMarkdown(ordered), /Order: `run migrate/)
  t.equal(orderText(plan()), undefined)
})

t.test(
  'what gives a container power over its host is named, and marked where it is new',
  async (t) => {
    const [host] = plan().hosts
    const access = (isNew: boolean) => [
      { text: 'mounts / of the host at /host', isNew },
      { text: 'runs as root by its settings', isNew: false },
    ]
    const hosts = [
      { ...host, name: 'app-01', access: access(true) },
      { ...host, name: 'app-02', access: access(false) },
    ] as Plan['hosts']
    const text = planLines(plan({ hosts })).join('\n')
    t.match(text, 'Access   NEW on app-01: mounts / of the host at /host\n')
    t.match(text, '         runs as root by its settings, as now\n')
    t.match(planLines(plan({ hosts: hosts.slice(0, 1) })).join('\n'), 'Access   NEW: mounts /')
    t.match(planMarkdown(plan({ hosts })), /power over its host:\n\n- NEW on app-01: mounts/)
    t.notMatch(planLines(plan()).join('\n'), 'Access')
  },
)
