import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'
import { keepOwners } from './base-owner.ts'
import { browseReleases } from './served-files.ts'

t.setTimeout(560_000)
const made = await createDemo(t)
if (typeof made === 'string') await t.test('the whole demo', { skip: made }, async () => {})
else
  await t.test('the whole demo, on a real engine, Tomcat, Maven and registries', (t) =>
    deliver(t, made),
  )

async function deliver(t: Test, demo: Demo) {
  const { project, cli, json, docker, start } = demo
  const first = await start('release', '--env', 'test', '--reason', 'first', '--json').finished
  t.equal(first.code, 0, first.stderr)
  const released = JSON.parse(first.stdout) as Record<string, unknown>
  t.match(released, { release: 'webapi@1.0.0', verified: true }, 'released, deployed and verified')
  const page = await fetch(new URL('/info', String(released.url)))
  t.match(await page.json(), { values: { greeting: 'Hello from test' } }, 'the values of test')

  await t.test(
    'a promotion keeps the digest and renders the values of the new environment',
    async (t) => {
      const promoted = await json('promote', 'webapi@1.0.0', '--to', 'staging')
      t.equal(promoted.digest, released.digest, 'the same digest')
      t.equal(promoted.warMd5, released.warMd5, 'the same WAR')
      t.not(promoted.configRevision, released.configRevision, 'another config revision')
      const properties = await Promise.all(
        ['test', 'staging'].map((env) =>
          docker('exec', `webapi-${env}`, 'cat', '/etc/webapi/webapi.properties'),
        ),
      )
      t.match(properties[0], /greeting = Hello from test/)
      t.match(properties[1], /greeting = Hello from staging/)
      const { environments } = (await json('status')) as { environments: { environment: string }[] }
      t.strictSame(environments.map(({ environment }) => environment).sort(), ['staging', 'test'])
    },
  )

  await t.test('skopeo and docker accept the pushed image', async (t) => {
    const image = String(released.image)
    const inspected = await run('skopeo', ['inspect', '--tls-verify=false', `docker://${image}`])
    t.match(JSON.parse(inspected.stdout), {
      Digest: released.digest,
      Labels: { 'io.crosscloud.war.md5': released.warMd5 },
    })
    t.match(await docker('pull', image), String(released.digest), 'docker pull')
    t.match(
      await docker('logs', 'webapi-test'),
      `WAR MD5 ${String(released.warMd5)}`,
      'the start script prints it',
    )
  })

  await t.test('the machine says what its threads do, and shows files of Tomcat', async (t) => {
    const { dumps } = (await json('instances', 'threads', '--env', 'test')) as {
      dumps: { name: string; lines: string[] }[]
    }
    t.match(dumps, [{ name: 'webapi-test', lines: { 0: /^Full thread dump / } }])
    t.ok(dumps[0]?.lines.some((line) => line.startsWith('"main" ')))
    t.ok(dumps[0]?.lines.some((line) => /^JNI global ref/.test(line)))
    // This Tomcat logs to its output alone; its other folders are links, too, in Debian.
    const file = ['--file', 'conf/server*.xml', '--grep', '<Server ']
    const { files } = (await json('instances', 'logs', '--env', 'test', ...file)) as {
      files: { lines: string[] }[]
    }
    t.match(files[0]?.lines, [/^<Server port=/])
    const { hosts } = (await json('hosts', 'check', '--env', 'test')) as {
      hosts: { warnings: { text: string }[] }[]
    }
    t.notOk(hosts[0]?.warnings.some(({ text }) => /not java/.test(text)))
  })

  await t.test('verify-md5 names each file that was changed in the container', async (t) => {
    const webapp = '/var/lib/tomcat10/webapps/ROOT'
    const good = await cli('verify-md5', '--env', 'test')
    t.equal(good.code, 0, good.stderr)
    t.match(good.stdout, /Compared \d+ files of the WAR, 0 of the image, 1 rendered on /)
    const tomcat = '/usr/share/tomcat10'
    const changes = [
      `printf x >> ${webapp}/index.jsp; touch ${webapp}/new; rm ${webapp}/WEB-INF/web.xml`,
      'printf x >> /etc/webapi/webapi.properties',
      `printf x >> ${tomcat}/bin/catalina.sh; printf x > ${tomcat}/lib/agent.jar`,
      `mkdir -p ${webapp}/../second/empty; printf x > ${webapp}/../second/index.html`,
    ]
    await docker('exec', 'webapi-test', 'sh', '-c', changes.join('; '))
    const { code, stderr } = await start('verify-md5', '--env', 'test').finished
    t.equal(code, 1)
    t.match(stderr, `changed  ${webapp}/index.jsp`)
    t.match(stderr, `missing  ${webapp}/WEB-INF/web.xml`)
    t.match(stderr, `extra    ${webapp}/new`)
    t.match(stderr, 'changed  /etc/webapi/webapi.properties (rendered config)')
    t.match(stderr, `changed  ${tomcat}/bin/catalina.sh\n`)
    t.match(stderr, `added    ${tomcat}/lib/agent.jar\n`)
    t.match(stderr, 'added    /var/lib/tomcat10/webapps/second/index.html\n')
    t.notMatch(stderr, /empty|\/(tmp|var\/cache|var\/log)\//)
    t.equal(
      (await cli('deploy', 'webapi@1.0.0', '--env', 'test')).code,
      0,
      'deploying puts it right',
    )
    t.equal((await cli('verify-md5', '--env', 'test')).code, 0)
  })

  await t.test('verify-md5 compares what Tomcat unpacked from a packaged WAR', async (t) => {
    const webapp = '/var/lib/tomcat10/webapps/ROOT'
    const packaged = ['--war-layout', 'packaged', '--version', '0.1.0']
    t.match(await cli('bake-image', ...packaged), { code: 0 })
    t.match(await cli('push-image'), { code: 0 })
    const deployed = await cli('deploy', 'webapi@0.1.0', '--env', 'test')
    const [, files] = /compared (\d+) files of the WAR/.exec(deployed.stdout) ?? []
    t.ok(Number(files) > 5, `${files} files, the .war file and what is in it`)
    const changes = `printf x >> ${webapp}/index.jsp; printf x > ${webapp}/shell.jsp`
    await docker('exec', 'webapi-test', 'sh', '-c', changes)
    const { code, stderr } = await cli('verify-md5', '--env', 'test')
    t.equal(code, 1)
    t.match(stderr, `changed  ${webapp}/index.jsp\n  extra    ${webapp}/shell.jsp`)
    t.notMatch(stderr, 'war-tracker')
  })

  await t.test('render-config --diff running shows what a deployment would change', async (t) => {
    const diff = () => cli('render-config', '--env', 'test', '--diff', 'running')
    t.match(await diff(), { code: 0, stdout: /Nothing differs\.$/m })
    const set = ['config', 'set', '--env', 'test', '/webapi/db/pool']
    t.match(await cli(...set, '500'), {
      code: 2,
      stderr: /must be <= 100 \(config\.schema\.yaml\)/,
    })
    t.match(await cli(...set, '7', '--reason', 'e2e'), { code: 0, stdout: /"5" → "7"/ })
    const { stdout } = await diff()
    t.match(stdout, /^host \S+\n[\s\S]*^-db\.pool = 5\n\+db\.pool = 7$/m)
    t.match(await cli('config', 'rollback', '--env', 'test', '/webapi/db/pool'), { code: 0 })
    t.match(await diff(), { stdout: /Nothing differs\.$/m })
  })

  await t.test('all missing keys are named before anything is touched', async (t) => {
    const before = await docker('inspect', '-f', '{{.Id}}', 'webapi-test')
    const path = join(project, 'config/test.yaml')
    const kept = await readFile(path, 'utf8')
    await cli('config', 'unset', '--env', 'test', '/webapi/greeting')
    await cli('config', 'unset', '--env', 'test', '/webapi/db/url')
    const { code, stderr } = await cli('deploy', 'webapi@1.0.0', '--env', 'test', '--older')
    t.equal(code, 2)
    t.match(stderr, '/webapi/greeting is missing in test')
    t.match(stderr, '/webapi/db/url is missing in test')
    t.equal(await docker('inspect', '-f', '{{.Id}}', 'webapi-test'), before, 'nothing was touched')
    await writeFile(path, kept)
  })

  await t.test('an error of bad input names the next step', async (t) => {
    const unknown = await cli('deploy', 'webapi@1.0.0', '--env', 'prod')
    t.equal(unknown.code, 2)
    t.match(unknown.stderr, 'Known environments: test, staging.')
    const absent = await cli('deploy', 'webapi@9.9.9', '--env', 'test')
    t.equal(absent.code, 1)
    t.match(absent.stderr, 'webapi@9.9.9 is not in the ledger')
    const elsewhere = ['--base', '127.0.0.1:1/no/such:1', '--war', 'target/webapi.war']
    const base = await start('bake-image', ...elsewhere).finished
    t.equal(base.code, 75, 'a registry that does not answer is worth another try')
    t.match(base.stderr, '127.0.0.1:1/no/such:1')
    await writeFile(join(project, 'broken.war'), 'this is no ZIP')
    const war = await cli('bake-image', '--war', 'broken.war')
    t.equal(war.code, 2)
    t.match(war.stderr, 'broken.war is not a readable ZIP file')
  })

  await t.test(
    'after a version that is never healthy the old container serves again',
    async (t) => {
      const health = join(project, 'src/main/java/com/example/webapi/HealthServlet.java')
      const good = await readFile(health, 'utf8')
      const broken = good.replace(
        'boolean healthy = ',
        'System.out.println("the price list is empty"); boolean healthy = false && ',
      )
      t.not(broken, good)
      await writeFile(health, broken)
      await writeFile(
        join(project, 'crosscloud.yml'),
        (await readFile(join(project, 'crosscloud.yml'), 'utf8')).replace(
          'timeout: 60s',
          // Longer than a busy machine needs until Tomcat responds at all.
          'timeout: 20s',
        ),
      )
      const before = await docker('inspect', '-f', '{{.Id}}', 'webapi-test')
      const { code, stdout, stderr } = await cli('release', '--env', 'test')
      t.equal(code, 1, stderr)
      t.match(stdout, 'the price list is empty', "the container's last lines are shown")
      t.equal(await docker('inspect', '-f', '{{.Id}}', 'webapi-test'), before, 'the old container')
      t.equal(await docker('inspect', '-f', '{{.State.Running}}', 'webapi-test'), 'true', 'serves')
      t.equal(await docker('ps', '-aq', '--filter', 'name=webapi-test.next'), '', 'nothing is left')
      const { deployments } = (await json('history', '--env', 'test', '--limit', '1')) as {
        deployments: { state: string; version: string }[]
      }
      t.match(deployments, [{ state: 'failed', version: '1.0.1' }], 'the ledger records it')

      const early = await cli('promote', 'webapi@1.0.1', '--to', 'staging')
      t.equal(early.code, 1, 'what failed in test goes no further')
      t.match(early.stderr, 'webapi@1.0.1 has not run, verified, in test')

      const hurried = start('deploy', 'webapi@1.0.1', '--env', 'test')
      await hurried.until('created webapi-test.next')
      hurried.child.kill('SIGINT')
      const stopped = await hurried.finished
      t.equal(stopped.code, 1, 'Ctrl-C in the middle')
      t.match(stopped.stderr, 'stopped by SIGINT')
      t.equal(await docker('inspect', '-f', '{{.Id}}', 'webapi-test'), before, 'still the old one')
      t.equal(await docker('inspect', '-f', '{{.State.Running}}', 'webapi-test'), 'true', 'serves')
      await writeFile(health, good)
    },
  )

  await t.test('a browser fetches a file that changed at the same length, and no other', (t) =>
    browseReleases(t, demo),
  )
  await t.test('folders of a base keep their owner and mode, and its user can write there', (t) =>
    keepOwners(t, demo),
  )
}
