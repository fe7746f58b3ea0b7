import t from 'tap'
import type { ContainerSpec } from '../../../src/targets/docker/host.ts'
import { parseHealth, parsePort, parseVolume } from '../../../src/targets/docker/notation.ts'
import { hostWarnings } from '../../../src/targets/docker/operations/check.ts'
import {
  firstProcessWarnings,
  loopbackWarnings,
  tomcatWarnings,
} from '../../../src/targets/docker/operations/check-stop.ts'
import { trialOf, trialWarnings } from '../../../src/targets/docker/operations/try-stop.ts'
import { readServerXml, tomcatFolder } from '../../../src/targets/tomcat.ts'

const texts = (warnings: readonly { text: string }[]) => warnings.map(({ text }) => text)

t.test('a server.xml says whether Tomcat waits, and when it opens its ports', (t) => {
  const stock = `<Server><!-- <Service gracefulStopAwaitMillis="1"> --><Service name="Catalina">
    <Connector port="8080" protocol="HTTP/1.1"/></Service></Server>`
  t.strictSame(readServerXml(stock), { gracefulStop: 0, opensWhenReady: false })
  const graceful = `<Service name='Catalina' gracefulStopAwaitMillis = '30000'>
    <Connector executor="a>b" bindOnInit="false" port="8080"></Connector>
    <Connector port="8009" bindOnInit="false" /></Service>`
  t.strictSame(readServerXml(graceful), { gracefulStop: 30_000, opensWhenReady: true })
  const half = graceful.replace('bindOnInit="false" />', '/>').replace('30000', '${stop.wait}')
  t.strictSame(readServerXml(half), { gracefulStop: undefined, opensWhenReady: false })
  t.equal(tomcatFolder({ CATALINA_HOME: '/opt/tomcat', CATALINA_BASE: '/srv/base' }), '/srv/base')
  t.equal(tomcatFolder({ CATALINA_HOME: '/opt/tomcat' }), '/opt/tomcat')
  t.equal(tomcatFolder({ CATALINA_HOME: '../x' }), undefined)
  t.end()
})

t.test('what would cut requests is named', (t) => {
  const graceful = { gracefulStop: 30_000, opensWhenReady: true }
  t.strictSame(tomcatWarnings(graceful, 40), [])
  t.strictSame(tomcatWarnings({ gracefulStop: undefined, opensWhenReady: true }, 1), [])
  t.match(tomcatWarnings(graceful, 30), [{ text: /killed 30 s/, hint: /stop-timeout: 40s/ }])
  t.match(texts(tomcatWarnings({ gracefulStop: 0, opensWhenReady: false }, 30)), [
    /gracefulStopAwaitMillis/,
    /bindOnInit="false"/,
  ])
  t.strictSame(firstProcessWarnings('/usr/lib/jvm/bin/java -Xmx1g org.apache.catalina.X'), [])
  t.strictSame(firstProcessWarnings(undefined), [])
  t.match(texts(firstProcessWarnings('/bin/sh run.sh java')), [/\/bin\/sh, not java/])
  t.match(texts(loopbackWarnings({ '8080/tcp': [{ HostIp: '127.0.0.1' }] })), [/8080\/tcp/])
  const everywhere = { '8080/tcp': [{ HostIp: '' }], '1/tcp': null }
  t.strictSame(loopbackWarnings(everywhere), [])
  t.match(texts(loopbackWarnings(everywhere, true)), [
    /^8080\/tcp is published on every address, and a proxy on this machine reaches it on 127/,
  ])
  t.strictSame(loopbackWarnings({ '8080/tcp': [{ HostIp: '10.1.0.11' }] }, true), [])
  t.end()
})

t.test('a clock that is off, a full disk and an old storage driver are named', (t) => {
  const facts = {
    engine: 'Docker 24.0.7',
    apiVersion: '1.43',
    storage: 'overlay2',
    disk: { free: 20, total: 100 },
    clockAhead: 4000,
    liveRestore: false,
  }
  t.strictSame(hostWarnings(facts, 'test'), [])
  const bad = { ...facts, storage: 'vfs', clockAhead: -6200, disk: { free: 9, total: 100 } }
  t.match(texts(hostWarnings(bad, 'test')), [/6 s behind/, /9 %/, /vfs/])
  t.end()
})

t.test('a stop is tried in a container with no port and no volume of the one that serves', (t) => {
  const slot = (number: number) => ({
    ports: [parsePort(`1808${number}:8080`)],
    env: { LIMIT: String(number) },
    values: { name: 'x' },
  })
  const file = { path: '/data/app.conf', content: Buffer.from(''), mode: 0o400, uid: 0, gid: 0 }
  const spec = (more: object): ContainerSpec => ({
    ...{ name: 'webapi', image: 'i', labels: { a: 'b' }, files: [file] },
    settings: {
      ...{ network: 'bridge', ports: [], slots: [slot(1), slot(2)], env: {}, stopTimeout: 2 },
      restart: 'always',
      volumes: [parseVolume('/srv/data:/data'), parseVolume('/srv/logs:/logs')],
      health: { http: parseHealth(':8080/up'), timeout: 1000 },
      ...more,
    },
  })
  const bridged = trialOf(spec({}), true)
  t.match(bridged, {
    port: 8080,
    wanted: { name: 'webapi.try', labels: { a: 'b' }, settings: { restart: 'no' } },
  })
  t.strictSame(bridged.wanted.settings.ports, [])
  t.equal(bridged.wanted.settings.slots, undefined)
  t.same(bridged.wanted.settings.volumes, [parseVolume('/srv/logs:/logs')])
  t.notOk('io.crosscloud.slot' in bridged.wanted.labels)
  t.strictSame(trialOf(spec({}), false).wanted.settings.ports, [parsePort('8080')])
  const onHost = trialOf(spec({ network: 'host' }), false)
  t.match(onHost.wanted.settings, { network: 'bridge', health: { http: { port: 18081 } } })
  t.strictSame(onHost.wanted.settings.ports, [parsePort('18081')])
  t.match(onHost.wanted.settings.env, { LIMIT: '1', CROSSCLOUD_SLOT_PORT: '18081' })
  for (const network of ['none', 'container:other']) {
    t.throws(() => trialOf(spec({ network }), true), { code: 'INPUT_INVALID' }, network)
  }
  t.end()
})

t.test('what a trial has seen is judged', (t) => {
  const request = {
    path: '/slow',
    status: 200,
    error: undefined,
    duration: 5000,
    isTooQuick: false,
  }
  const stop = { exitCode: 143, duration: 4000, timeout: 40 }
  const well = {
    ...{ host: 'app-01', name: 'webapi.try', boot: 5000, firstResponse: 300 },
    ...{ request, takesNew: false, stop },
  }
  const of = (more: object) => texts(trialWarnings({ ...well, ...more })).join(' | ')
  t.equal(of({}), '')
  t.equal(of({ request: undefined, takesNew: undefined, firstResponse: undefined }), '')
  const lost = { ...request, status: undefined, error: 'socket hang up' }
  t.match(of({ request: lost }), /^webapi\.try: GET \/slow was cut after 5\.0 s: socket hang up$/)
  t.match(of({ request: { ...request, status: 503 } }), /was cut after 5\.0 s: HTTP 503$/)
  t.match(of({ request: { ...request, isTooQuick: true } }), /\(HTTP 200\), .*nothing was proven$/)
  t.match(of({ takesNew: true }), /took a new connection while it stopped/)
  t.match(of({ firstResponse: 3100 }), /took a connection 3\.1 s before it responded/)
  t.match(of({ stop: { ...stop, exitCode: 137 } }), /was killed: it did not stop within 40 s$/)
  t.match(of({ stop: { ...stop, exitCode: 1 } }), /ended with exit code 1 when/)
  t.equal(of({ stop: { ...stop, exitCode: 0 } }), '')
  t.end()
})
