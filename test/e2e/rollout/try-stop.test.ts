import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { writeWar } from '../../support/data/war.ts'
import { runHere } from '../../support/program.ts'
import { freePort } from '../../support/servers/ports.ts'
import { createDemo, type Demo } from '../../support/setups/demo.ts'
import { temporaryFolder } from '../../support/temporary.ts'

t.setTimeout(560_000)

/** A page that takes its time, and an application that starts slowly. */
const FILES = {
  'index.html': 'well',
  'slow.jsp': '<% Thread.sleep(Long.parseLong(request.getParameter("ms"))); %>done',
  'boot.jsp':
    '<%! public void jspInit() { try { Thread.sleep(4000); } catch (InterruptedException e) { } } %>',
  'WEB-INF/web.xml':
    '<web-app><servlet><servlet-name>boot</servlet-name><jsp-file>/boot.jsp</jsp-file><load-on-startup>1</load-on-startup></servlet></web-app>',
}

const SERVER_XML = `<Server port="-1">
  <Service name="Catalina" gracefulStopAwaitMillis="{{getv "/shop/graceful"}}">
    <Connector port="8080" protocol="HTTP/1.1" bindOnInit="{{getv "/shop/early"}}"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" unpackWARs="true" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>
`

const RESOURCE =
  '[template]\nsrc = "server.hbs"\ndest = "/etc/tomcat10/server.xml"\nmode = "0644"\nkeys = ["/shop"]\n'

const TRY = ['hosts', 'check', '--env', 'test', '--try-stop']

const made = await createDemo(t)
if (typeof made === 'string') t.test('a stop that is tried', { skip: made }, async () => {})
else await tries(made)

/** The base image of the demo, and how to configure and run an application on it. */
async function prepare(demo: Demo) {
  const folder = await temporaryFolder(t)
  const place = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const { docker, engine, addresses, project } = demo
  const { image } = parse(await readFile(join(project, 'crosscloud.yml'), 'utf8'))
  const ports = [await freePort(), await freePort()]
  const repository = `${addresses[0]}/team/shop`
  const configure = async (container: object = {}) =>
    place(
      'crosscloud.yml',
      JSON.stringify({
        app: 'shop',
        image: { base: image.base, webapp: image.webapp, templates: 'deploy' },
        ledger: 'sqlite:ledger.db',
        container: {
          slots: ports.map((port) => `${port}:8080`),
          'stop-timeout': '25s',
          health: { http: ':8080/index.html', timeout: '90s' },
          ...container,
        },
        environments: {
          test: {
            image: repository,
            config: 'file:config/test.yaml',
            hosts: { 'app-01': { address: engine.address, bind: '127.0.0.1' } },
          },
        },
      }),
    )
  const tomcat = (graceful: number, early: boolean) =>
    place('config/test.yaml', `shop:\n  graceful: "${graceful}"\n  early: "${early}"\n`)
  await place('deploy/conf.d/server.toml', RESOURCE)
  await place('deploy/templates/server.hbs', SERVER_XML)
  await configure()
  await tomcat(0, true)
  await writeWar(join(folder, 'shop.war'), FILES)
  const cli = (
    args: readonly string[],
    options: { signal?: AbortSignal; onText?: (text: string) => void } = {},
  ) => runHere(args, { cwd: folder, variables: { HOME: folder }, ...options })
  const well = async (...args: string[]) => {
    const said = await cli(args)
    if (said.code !== 0) throw new Error(said.all)
    return said
  }
  await well('bake-image', '--war', 'shop.war', '--version', '1.0.0')
  await well('push-image', '--to', repository)
  const names = async () => (await docker('ps', '--all', '--format', '{{.Names}}')).split('\n')
  return { cli, well, configure, tomcat, names, engine, ports }
}

async function tries(demo: Demo): Promise<void> {
  const { cli, well, configure, tomcat, names, engine, ports } = await prepare(demo)
  const gone = async (t: Test) =>
    t.notOk((await names()).includes('shop-test.try'), 'its container is removed')

  await t.test('without a deployment a release must be named, and flags go together', async (t) => {
    t.match(await cli(TRY), { code: 1, stderr: /nothing of shop was deployed to test yet/ })
    const lone = await cli(['hosts', 'check', '--env', 'test', '--slow', '/x'])
    t.match(lone, { code: 2, stderr: /--slow is of use with `--try-stop` alone/ })
    for (const path of ['slow.jsp', '/a b', '/\u0007']) {
      t.match(
        await cli([...TRY, '--slow', path]),
        { code: 2, stderr: /is no path of a page/ },
        path,
      )
    }
    await gone(t)
  })

  await t.test('a Tomcat as it comes lets requests hang at its start, and cuts them', async (t) => {
    const slow = ['--release', 'shop@1.0.0', '--slow', '/slow.jsp?ms=9000']
    const { stdout } = await well(...TRY, ...slow)
    t.match(stdout, /^app-01: shop@1\.0\.0 was stopped in a container of its own, shop-test\.try/m)
    t.match(stdout, /^ {2}Port +the first request waited ([3-9]|\d\d)\.\d s once it was open$/m)
    t.match(stdout, /^ {2}Request +GET \/slow\.jsp\?ms=9000: .* while it stopped$/m)
    t.match(stdout, /^app-01: shop-test\.try: GET \/slow\.jsp\?ms=9000 was cut after \d+\.\d s: /m)
    t.match(stdout, /took a connection \d+\.\d s before it responded/)
    t.match(stdout, /server\.xml has no gracefulStopAwaitMillis/, 'of the rendered server.xml')
    t.match(stdout, /exit code 143 after \d+\.\d s of 25 s: it stopped by itself$/m)
    await gone(t)
  })

  await t.test('a Tomcat that is set up for it answers, beside the one that serves', async (t) => {
    await tomcat(15_000, false)
    await well('deploy', '--release', 'shop@1.0.0', '--env', 'test')
    const serving = async () => {
      const { Id, State } = await engine.docker.getContainer('shop-test').inspect()
      return { Id, StartedAt: State.StartedAt, Running: State.Running }
    }
    const before = await serving()
    let published: Promise<unknown> | undefined
    const seen = await cli([...TRY, '--slow', '/slow.jsp?ms=5000', '--json'], {
      onText(text) {
        if (!text.includes('shop-test.try is healthy')) return
        const container = engine.docker.getContainer('shop-test.try')
        published ??= container.inspect().then(({ NetworkSettings }) => NetworkSettings.Ports)
      },
    })
    t.equal(seen.code, 0, seen.all)
    const { trial } = JSON.parse(seen.stdout)
    t.match(trial, {
      ...{ release: 'shop@1.0.0', host: 'app-01', takesNew: false },
      request: { status: 200, isTooQuick: false },
      stop: { exitCode: 143, timeout: 25 },
    })
    t.ok(trial.firstResponse < 3000, 'its port opened when it was ready')
    const hasty = ({ text }: { text: string }) => /took a connection/.test(text)
    t.same(
      trial.warnings.filter((each: { text: string }) => !hasty(each)),
      [],
    )
    t.ok(trial.request.duration >= 5000)
    t.ok(trial.stop.duration >= 2000, 'the stop waited for it')
    t.notMatch(JSON.stringify(await published), new RegExp(ports.join('|')))
    t.same(await serving(), before, 'what serves was not touched')
    const { events } = JSON.parse((await well('history', '--only', 'events', '--json')).stdout)
    t.match(events, [{ action: 'hosts check', subject: 'a stop of shop@1.0.0 on app-01' }])
    await gone(t)
    const quick = await well(...TRY, '--slow', '/index.html')
    t.match(quick.stdout, /GET \/index\.html was over after .* \(HTTP 200\), .* nothing was proven/)
    t.match((await well(...TRY)).stdout, /Request +none was at work: `--slow \/PATH` names a page/)
  })

  await t.test('one that gets too little time is said to be killed', async (t) => {
    await configure({ 'stop-timeout': '2s' })
    const { stdout } = await well(...TRY, '--slow', '/slow.jsp?ms=9000')
    t.match(stdout, /exit code 137 after [2-9]\.\d s of 2 s: it was killed/)
    t.match(stdout, /Tomcat waits 15 s for requests\n {2}→ Set container\.stop-timeout: 25s/)
    await gone(t)
    await configure()
  })

  await t.test('nothing is left after Ctrl-C and failures, nor after a killed trial', async (t) => {
    for (const at of ['starting shop-test.try', 'stopping shop-test.try']) {
      const stop = new AbortController()
      const onText = (text: string) => text.includes(at) && stop.abort()
      const args = [...TRY, '--slow', '/slow.jsp?ms=9000']
      const cut = await cli(args, { signal: stop.signal, onText })
      t.match(cut, { code: 1, stderr: /cancelled/ }, at)
      await gone(t)
    }
    const { Image: image } = await engine.docker.getContainer('shop-test').inspect()
    const stranger = await engine.docker.createContainer({ Image: image, name: 'shop-test.try' })
    const refused = await cli(TRY)
    t.match(refused, { code: 1, stderr: /shop-test\.try was not put there by crosscloud/ })
    await stranger.remove()
    const labels = { 'io.crosscloud.application': 'shop', 'io.crosscloud.environment': 'test' }
    const spec = { Image: image, name: 'shop-test.try', Labels: labels }
    await (await engine.docker.createContainer(spec)).start()
    await configure({ health: { http: ':8080/missing', timeout: '20s' } })
    const failed = await cli(TRY)
    t.match(failed, { code: 1, stderr: /shop-test\.try is not healthy after 20 s: .* HTTP 404/ })
    await gone(t)
  })
}
