import { readFile } from 'node:fs/promises'
import t from 'tap'
import { stringify } from 'yaml'
import { createSecrets } from '../../src/core/secrets.ts'
import { hashOf } from '../../src/delivery/plan/hash.ts'
import type { PlanRequest } from '../../src/delivery/plan/request.ts'
import type { PlannedHost, PlannedProxy } from '../../src/delivery/plan/schema.ts'
import { resolveEnvironment } from '../../src/settings.ts'
import { parseSettings } from '../support/data/settings.ts'

const digest = `sha256:${'a'.repeat(64)}`
type Facts = Parameters<typeof hashOf>[1]
type Other = Partial<Facts> & Partial<Pick<PlanRequest, 'adopt' | 'bad'>>

const host: PlannedHost = {
  ...{ name: 'app-01', address: 'tcp://app-01:2376', action: 'replace', slot: 1, access: [] },
  runs: { release: 'webapi@1.0.0', deployment: 'd1', container: 'webapi-test', running: true },
  ...{ lacks: null, leftovers: [], restores: 'webapi@1.0.0', error: null },
}

const proxy: PlannedProxy = {
  ...{ name: 'nginx on lb-01', leftover: null, servers: null, canary: 10 },
  hosts: [{ name: 'app-01', out: false, steps: [{ do: 'put in', server: 'app-01-1' }] }],
}

const facts: Facts = {
  ...{ kind: 'deploy', release: 'webapi@1.0.1', digest, hosts: [host], proxy },
  from: { name: 'webapi@1.0.0', digest, commit: null, deployment: 'd1', since: '2026-11-28' },
  config: { before: digest, after: digest, known: true, keys: [], files: [] },
  rollout: { before: null, stages: [], after: null, onFailure: 'restore' },
}

/** Of a host and a secret; limits of a process have names of their own. */
const NAME = 'nofile'

/** The hash with these settings of the environment, as a person writes them. */
async function hashWith(written: object, { adopt, bad, ...found }: Other = {}) {
  const base = {
    image: 'registry.test/webapi',
    hosts: { [NAME]: { address: 'tcp://app-01:2376' } },
  }
  const environments = { test: merge(base, written), before: { image: 'registry.test/before' } }
  const text = stringify({ app: 'webapi', environments })
  const data = await parseSettings(text, 'crosscloud.yml', {}, createSecrets())
  const settings = { ...data, file: 'crosscloud.yml', folder: '.', variables: [] }
  const environment = resolveEnvironment(settings, 'test')
  return hashOf({ environment, adopt, bad } as PlanRequest, { ...facts, ...found })
}

type Tree = { [key: string]: unknown }
const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function merge(base: object, more: object): object {
  const merged: Tree = { ...base }
  for (const [key, value] of Object.entries(more)) {
    const old = merged[key]
    merged[key] = isTree(old) && isTree(value) ? merge(old, value) : value
  }
  return merged
}

/** `container.cpus`, 2 → { container: { cpus: 2 } } */
const put = (name: string, value: unknown): Tree =>
  name
    .split('.')
    .reduceRight<unknown>(
      (inner, key) => ({ [key === '<name>' ? NAME : key]: inner }),
      value,
    ) as Tree

/** What an environment may be set to, twice, by the setting that differs. */
const samples = new Map<string, [object, object]>()
const add = (beside: object, all: Record<string, [unknown, unknown]>) => {
  for (const [name, [one, other]] of Object.entries(all)) {
    samples.set(name, [merge(beside, put(name, one)), merge(beside, put(name, other))])
  }
}

add(
  {},
  {
    image: ['registry.test/a', 'registry.test/b'],
    'hosts.<name>.address': ['tcp://app-01:2376', 'tcp://app-02:2376'],
    'hosts.<name>.certificates': ['one', 'other'],
    'hosts.<name>.bind': ['10.0.0.1', '10.0.0.2'],
    'prune.keep': [5, 6],
    'container.name': ['one', 'other'],
    'container.network': ['front', 'back'],
    'container.ports': [['8080:8080'], ['8081:8080']],
    'container.slots': [
      ['1:8080', '2:8080'],
      ['1:8080', '3:8080'],
    ],
    'container.volumes': [['/a:/data'], ['/a:/data:ro']],
    'container.on-volume': [false, true],
    'container.env': [{ HEAP: '1g' }, { HEAP: '2g' }],
    'container.memory': ['512m', '1g'],
    'container.restart': ['always', 'no'],
    'container.stop-timeout': ['30s', '40s'],
    'container.networks': [
      ['a', 'b'],
      ['b', 'a'],
    ],
    'container.extra-hosts': [['db:10.0.0.5'], ['db:10.0.0.6']],
    'container.dns': [['10.0.0.2'], ['10.0.0.3']],
    'container.hostname': ['one', 'other'],
    'container.cpus': [1, 1.5],
    'container.shm-size': ['64m', '65m'],
    'container.user': ['1000', '1001'],
    'container.read-only': [false, true],
    'container.tmpfs': [['/tmp'], ['/tmp:size=64m']],
    'container.devices': [['/dev/fuse'], ['/dev/fuse:/dev/fuse:r']],
    'container.cap-add': [['KILL'], ['CHOWN']],
    'container.cap-drop': [['KILL'], ['ALL']],
    'container.init': [false, true],
    'container.stop-signal': ['SIGTERM', 'SIGQUIT'],
    'container.logging.driver': ['local', 'journald'],
    'container.logging.options': [{ 'max-size': '1m' }, { 'max-size': '2m' }],
    'container.labels': [{ team: 'a' }, { team: 'b' }],
    'container.secrets.<name>.key': ['/a', '/b'],
    'container.secrets.<name>.environment': ['A', 'B'],
    'container.sysctls': [{ 'net.core.somaxconn': 1 }, { 'net.core.somaxconn': 2 }],
    'container.health.tcp': [':8080', ':8081'],
    'container.health.command': [['/a'], ['/b']],
    'container.health.running': ['1s', '2s'],
    'rollout.parallel': [1, '50%'],
    'rollout.pause': ['1s', '2s'],
    'rollout.canary': [1, '10%'],
    'rollout.watch': ['1m', '2m'],
    'rollout.max-error-rate': ['5%', '6%'],
    'rollout.on-failure': ['stop', 'continue'],
    'rollout.before': [['migrate'], ['migrate', '--apply']],
    'rollout.after': [['a'], ['b']],
    'rollout.timeout': ['1m', '2m'],
  },
)
add(put('container.memory', '1g'), { 'container.memory-swap': ['1g', '2g'] })
add(put('container.ulimits.<name>', { soft: 1, hard: 5 }), {
  'container.ulimits.<name>.soft': [1, 2],
  'container.ulimits.<name>.hard': [5, 6],
})
add(put('container.secrets.<name>.key', '/a'), {
  'container.secrets.<name>.target': ['a', 'b'],
  'container.secrets.<name>.uid': [1, 2],
  'container.secrets.<name>.gid': [1, 2],
  'container.secrets.<name>.mode': ['0400', '0440'],
})
add(put('container.health', { http: { port: 8080, path: '/' } }), {
  'container.health.http.port': [8080, 8081],
  'container.health.http.path': ['/a', '/b'],
  'container.health.http.statuses': [200, '200-399'],
  'container.health.http.headers': [{ Host: 'a' }, { Host: 'b' }],
  'container.health.http.body': ['a', 'b'],
  'container.health.timeout': ['1s', '2s'],
  'container.health.interval': ['1s', '2s'],
  'container.health.request-timeout': ['1s', '2s'],
  'container.health.successes': [1, 2],
})
samples.set('container.health.docker', [{}, put('container.health.docker', true)])
const nginx = { folder: '/etc/nginx/x', status: 'http://lb-01/x' }
add(put('proxy.nginx', nginx), {
  'proxy.nginx.at': ['ssh://lb-01', 'ssh://lb-02'],
  'proxy.nginx.folder': ['/etc/a', '/etc/b'],
  'proxy.nginx.upstream': ['a', 'b'],
  'proxy.nginx.status': ['http://a/x', 'http://b/x'],
  'proxy.nginx.sessions': ['cookie', 'none'],
  'proxy.nginx.command': [['nginx'], ['sudo', 'nginx']],
  'proxy.nginx.pid-file': ['/run/a', '/run/b'],
  'proxy.drain': ['1s', '2s'],
})
add(put('proxy.nginx', { ...nginx, at: 'tcp://lb-01:2376', container: 'web' }), {
  'proxy.nginx.container': ['a', 'b'],
  'proxy.nginx.certificates': ['a', 'b'],
})
add(put('proxy.haproxy', { socket: 'unix:///run/a' }), {
  'proxy.haproxy.socket': ['unix:///run/a', 'unix:///run/b'],
  'proxy.haproxy.backend': ['a', 'b'],
  'proxy.haproxy.state-file': ['/run/a', '/run/b'],
})
add(put('proxy.commands', { 'take-out': ['a'], 'put-in': ['a'], check: ['a'] }), {
  'proxy.commands.take-out': [['a'], ['b']],
  'proxy.commands.put-in': [['a'], ['b']],
  'proxy.commands.check': [['a'], ['b']],
  'proxy.commands.drained': [['a'], ['b']],
  'proxy.commands.weight': [['a'], ['b']],
  'proxy.commands.timeout': ['1s', '2s'],
})

/** When a deployment may start, where people find it, and where its config is kept. */
const BESIDE = /^(?:from|url|config|config-key|gate)(?:\.|$)/

/** Every setting of an environment, by the page that is made from the schema. */
async function settingsOfEnvironment(): Promise<string[]> {
  const page = await readFile(new URL('../../docs/settings.md', import.meta.url), 'utf8')
  const all = [...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name = '']) => name)
  const own = all.flatMap((name) => {
    const inner = /^environments\.<name>\.(.*)/.exec(name)?.[1]
    return inner ?? (/^(?:container|rollout)\./.test(name) ? name : [])
  })
  const isGroup = (name: string) => own.some((other) => other.startsWith(`${name}.`))
  return [...new Set(own)].filter((name) => name !== 'container' && !isGroup(name))
}

t.test(
  'every setting that decides what a deployment does is in the hash of its plan',
  async (t) => {
    const names = await settingsOfEnvironment()
    t.ok(names.length > 90, `${names.length} of them`)
    for (const name of names.filter((each) => !BESIDE.test(each))) {
      const [one, other] = samples.get(name) ?? []
      if (one && other) t.not(await hashWith(one), await hashWith(other), name)
      else t.fail(`${name} has no two values here that can be told apart`)
    }
  },
)

t.test('what only decides when it may start, or is shown, is not in it', async (t) => {
  const plain = await hashWith({})
  for (const written of [
    { gate: { approvals: 2 } },
    { url: 'https://shop.example.com' },
    { from: 'before' },
    { config: 'file:other.yaml', 'config-key': 'file:key' },
  ]) {
    t.equal(await hashWith(written), plain, JSON.stringify(written))
  }
  t.equal(await hashWith({}, { hosts: [{ ...host, lacks: { layers: 1, bytes: 5 } }] }), plain)
  const server = { name: 'app-01-1', address: 'a:1', mode: 'in' as const, up: true, weight: 100 }
  t.equal(await hashWith({}, { proxy: { ...proxy, servers: [server] } }), plain)
  t.equal(
    await hashWith({ container: { env: { A: '1', B: '2' } } }),
    await hashWith({ container: { env: { B: '2', A: '1' } } }),
    'in whatever order it is written',
  )
})

t.test('what is found decides, too', async (t) => {
  const plain = await hashWith({})
  const others: Other[] = [
    { kind: 'rollback' },
    { digest: digest.replace('a', 'b') },
    { adopt: true },
    { bad: '1.0.0' },
    { config: { ...facts.config, after: 'sha256:b' } },
    { rollout: { ...facts.rollout, before: ['migrate'] } },
    { hosts: [{ ...host, runs: null, action: 'create' }] },
    { hosts: [{ ...host, slot: 2 }] },
    { hosts: [{ ...host, leftovers: ['webapi-test.next'] }] },
    { proxy: { ...proxy, leftover: 'half a change' } },
    { proxy: { ...proxy, canary: 20 } },
    { proxy: null },
  ]
  for (const more of others) t.not(await hashWith({}, more), plain, JSON.stringify(more))
})
