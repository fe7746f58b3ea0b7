import t from 'tap'
import { z } from 'zod'
import { createSecrets } from '../../../src/core/secrets.ts'
import { issueLines } from '../../../src/core/settings/schema.ts'
import { openCheck } from '../../../src/targets/docker/health/ask.ts'
import type { HealthSettings } from '../../../src/targets/docker/health/check.ts'
import {
  HEALTH_CHECK_LABEL,
  HEALTH_LABEL,
  healthLabels,
  ownHealth,
} from '../../../src/targets/docker/health/label.ts'
import { exitText, lastException } from '../../../src/targets/docker/health/last-words.ts'
import { healthSettings, resolveHealth } from '../../../src/targets/docker/health/settings.ts'
import type { ContainerInfo, Host } from '../../../src/targets/docker/host.ts'

/** What settings say, or the problems in them. */
function read(written: unknown): HealthSettings | string[] {
  const schema = z.strictObject({ health: healthSettings })
  const result = schema.safeParse({ health: written }, { reportInput: true })
  if (result.success) return resolveHealth(result.data.health)
  return issueLines(result.error.issues, schema).map(
    ({ path, text }) => `${path.join('.')} ${text}`,
  )
}

const asItIs = (text: string) => text
const attempt = { elapsed: 0, connect: 1, request: 1, signal: undefined }

t.test('a health check is written as a text or a map', async (t) => {
  const http = { port: 8080, path: '/up' }
  t.match(read({ http: ':8080/up' }), { http, timeout: 60_000, successes: undefined })
  t.match(
    read({ http: { ...http, statuses: [200, '301-302'], headers: { Host: 'a' }, body: 'UP' } }),
    {
      http: {
        ...http,
        statuses: [
          [200, 200],
          [301, 302],
        ],
        headers: { Host: 'a' },
        body: 'UP',
      },
    },
  )
  t.match(read({ http: { ...http, statuses: '200-399' } }), { http: { statuses: [[200, 399]] } })
  t.match(
    read({ tcp: ':5672', timeout: '5m', interval: '1s', 'request-timeout': '2s', successes: 3 }),
    {
      tcp: { port: 5672 },
      timeout: 300_000,
      interval: 1000,
      requestTimeout: 2000,
      successes: 3,
    },
  )
  t.match(read({ docker: true, timeout: '3m' }), { docker: true, timeout: 180_000 })
  t.match(read({ command: ['/ready', '-q'] }), { command: ['/ready', '-q'] })
  t.match(read({ running: '5s' }), { running: 5000, timeout: 5000 })
})

t.test('what is wrong with a health check is said where it is', async (t) => {
  const http = { port: 8080, path: '/up' }
  const table: [written: unknown, problems: (string | RegExp)[]][] = [
    [{}, ['health needs exactly one of http, tcp, docker, command, running']],
    [{ http: ':8080/', tcp: ':8080' }, [/exactly one/]],
    [{ http: 'healthz' }, [/^health\.http .*not a port and a path/]],
    [{ http: 8080 }, ['health.http is a number; write a text or a map']],
    [{ http: { ...http, port: '8080' } }, ['health.http.port is a text; write a number']],
    [{ http: { ...http, status: 200 } }, [/^health\.http\.status is not .*mean statuses\?$/]],
    [{ http: { ...http, path: 'up' } }, [/^health\.http\.path is not a path/]],
    [{ http: { ...http, statuses: '399-200' } }, [/^health\.http\.statuses "399-200" is not/]],
    [{ http: { ...http, statuses: [2] } }, [/^health\.http\.statuses "2" is not/]],
    [
      { http: { ...http, headers: { 'a b': 'c' } } },
      [/^health\.http\.headers\.a b is not an HTTP/],
    ],
    [{ http: { ...http, headers: { a: 'b\nc' } } }, [/^health\.http\.headers\.a is not an HTTP/]],
    [{ http: { ...http, body: '(' } }, [/^health\.http\.body Invalid regular expression/]],
    [{ tcp: '8080' }, [/^health\.tcp "8080" is not a port/]],
    [{ tcp: ':70000' }, [/^health\.tcp ":70000" is not a port/]],
    [{ docker: false }, [/^health\.docker is not one of true/]],
    [{ command: [] }, [/^health\.command is empty/]],
    [{ running: '5s', timeout: '9s' }, ['health.timeout is not used with running']],
    [{ docker: true, interval: '9s' }, ['health.interval is not used with docker']],
    [{ htpp: ':8080/' }, [/^health\.htpp is not a known setting: did you mean http\?/]],
  ]
  for (const [written, problems] of table) t.match(read(written), problems, JSON.stringify(written))
})

t.test(
  'a container keeps its health check, and version 0.1.0 can read what it knows',
  async (t) => {
    const simple: HealthSettings = { http: { port: 8080, path: '/up' }, timeout: 9000 }
    t.same(healthLabels(simple), { [HEALTH_LABEL]: '{"http":":8080/up","timeout":9000}' })
    t.same(healthLabels(undefined), { [HEALTH_LABEL]: 'null' })
    const often: HealthSettings = { ...simple, interval: 100 }
    t.equal(healthLabels(often)[HEALTH_LABEL], '{"http":":8080/up","timeout":9000}')
    const others: HealthSettings[] = [
      often,
      { ...simple, successes: 2 },
      { http: { port: 8080, path: '/', statuses: [[200, 302]], headers: { a: 'b' } }, timeout: 1 },
      { tcp: { port: 1 }, timeout: 1 },
      { docker: true, timeout: 1 },
      { command: ['a'], timeout: 1 },
      { running: 5, timeout: 5 },
    ]
    for (const health of others) {
      const labels = healthLabels(health)
      t.match(ownHealth(labels, undefined), health)
      if (health !== often) t.equal(labels[HEALTH_LABEL], 'null')
    }
    t.match(ownHealth(healthLabels(simple), undefined), simple, 'as 0.1.0 wrote it')
    t.equal(ownHealth({ [HEALTH_LABEL]: 'null' }, simple), undefined)
    t.equal(ownHealth({}, simple), simple)
    for (const label of ['', '{', '{"http":"x","timeout":1}', '{"http":":1/","timeout":0}', '3']) {
      t.equal(ownHealth({ [HEALTH_LABEL]: label }, simple), simple, label)
      t.equal(ownHealth({ [HEALTH_CHECK_LABEL]: label }, simple), simple, label)
    }
    t.equal(ownHealth({ [HEALTH_CHECK_LABEL]: '{"grpc":":1","timeout":1}' }, simple), simple)
  },
)

t.test('a check that others wrote into a label is held to what settings may say', async (t) => {
  const simple: HealthSettings = { http: { port: 8080, path: '/up' }, timeout: 1000 }
  const http = { port: 8080, path: '/up' }
  const wrong = [
    { http: { ...http, path: '@127.0.0.1:5999/latest/meta-data?x' }, timeout: 1 },
    { http: { ...http, port: 70_000 }, timeout: 1 },
    { http: { ...http, headers: { 'a b': 'c' } }, timeout: 1 },
    { http: { ...http, body: '(' }, timeout: 1 },
    { http: { ...http, statuses: ['2xx'] }, timeout: 1 },
    { http, timeout: 1e12 },
    { http, timeout: 1, interval: 'often' },
    { http, tcp: { port: 1 }, timeout: 1 },
    { tcp: { port: 0 }, timeout: 1 },
    { command: [1], timeout: 1 },
    { timeout: 1 },
  ]
  for (const label of wrong.map((each) => JSON.stringify(each))) {
    t.equal(ownHealth({ [HEALTH_CHECK_LABEL]: label }, simple), simple, label)
  }
})

t.test('the last exception of a log is found, and of its causes the first of all', async (t) => {
  const trace = [
    '30-Nov-2026 13:00:00.001 INFO [main] org.apache.catalina.startup.Catalina.start starting',
    '30-Nov-2026 13:00:00.002 SEVERE [main] o.a.c.core.StandardContext org.x.BootException: failed',
    '\tat org.x.Boot.run(Boot.java:12)',
    'Caused by: org.x.PoolException: cannot connect',
    '\tat org.x.Pool.open(Pool.java:3)',
    '\t... 12 more',
    'Caused by: java.net.ConnectException: Connection refused (db:3306)',
    '\tat java.base/sun.nio.ch.Net.connect(Native Method)',
    '\tSuppressed: java.io.IOException: on closing',
    '\tCaused by: java.lang.IllegalStateException: of the suppressed one',
    '30-Nov-2026 13:00:01.000 INFO [main] org.x.ExceptionHandler stopping',
  ]
  t.equal(lastException(trace, asItIs), 'java.net.ConnectException: Connection refused (db:3306)')
  const thrown = [
    'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space',
    '\tat A',
  ]
  t.equal(
    lastException([...trace, ...thrown], asItIs),
    'java.lang.OutOfMemoryError: Java heap space',
  )
  t.equal(lastException(trace.slice(0, 1), asItIs), undefined)
  t.equal(lastException([], asItIs), undefined)
  t.equal(lastException([`a.BException: ${'x'.repeat(999)}`], asItIs)?.length, 300)
})

t.test('a name of an exception is found in its line, with its package alone', (t) => {
  const found = (line: string) => lastException([line], asItIs)
  t.equal(found('at 12:00 o.x.Outer$BadException$1: no'), 'o.x.Outer$BadException$1: no')
  t.equal(found('Main.java.lang.Error: no'), 'java.lang.Error: no')
  t.equal(found('see a.b.Exceptional, a.Cd.EfException or BadException'), undefined)
  t.end()
})

t.test('a log of long lines is looked through in the time it takes to read it', (t) => {
  const parts = ['a', '$', 'a.', 'A.', 'a.A', 'Exception', 'a.AException$', 'Caused by: ', '\t']
  const lines = parts.flatMap((part) => [part.repeat(200_000), `${part.repeat(200_000)}!`])
  const many = Array.from({ length: 300 }, () => `${'a'.repeat(100_000)}!`)
  lastException([...many, ...lines], asItIs)
  lastException(many, asItIs)
  t.pass('it ends; by a pattern that goes back it takes hours')
  t.end()
})

t.test('what a container said is masked before it is cut', async (t) => {
  const secrets = createSecrets()
  secrets.add('Sup3r-S3cret-Pw')
  for (const length of [185, 190, 195, 199, 285, 290, 299]) {
    const said = `${'x'.repeat(length)}Sup3r-S3cret-Pw${'y'.repeat(400)}`
    t.notMatch(lastException([`a.BException: ${said.slice(14)}`], secrets.mask), 'Sup', `${length}`)
    const ask = openCheck(secrets as unknown as Host, { docker: true, timeout: 1 })
    const health = { status: 'unhealthy', output: `first\n${said}\n` }
    const problem = await ask({ health } as ContainerInfo, attempt)
    t.match(problem, /^unhealthy: x+(?:\*{1,3}y*)?$/)
  }
  t.equal(
    lastException(['a.BException: \x07\x1b[31mno\r\x1b[0Ksection_end:1:x'], secrets.mask),
    'a.BException: nosection_end:1:x',
  )
})

t.test('an exit code of 128 and more names the signal', async (t) => {
  t.same([1, 137, 143, undefined].map(exitText), ['1', '137 (SIGKILL)', '143 (SIGTERM)', 'unknown'])
})
