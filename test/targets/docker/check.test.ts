import t from 'tap'
import { hostWarnings } from '../../../src/targets/docker/operations/check.ts'
import {
  firstProcessWarnings,
  loopbackWarnings,
  tomcatWarnings,
} from '../../../src/targets/docker/operations/check-stop.ts'
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
  t.strictSame(loopbackWarnings({ '8080/tcp': [{ HostIp: '' }], '1/tcp': null }), [])
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
