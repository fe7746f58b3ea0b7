import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import type { Demo } from '../support/setups/demo.ts'
import { runBaked } from '../support/setups/tomcat.ts'

/** An application that stays packed. */
export const PAGE = { 'index.html': '<h1>unpacked</h1>', 'WEB-INF/web.xml': '<web-app/>' }
const WEBAPPS = '/var/lib/tomcat10/webapps'

/** What is baked on it: the WAR as it is, and files into folders that the base has. */
export const MORE = [
  ...['--war-layout', 'packaged'],
  ...['--add', 'logs:/srv/logs', '--add', 'note.txt:/tmp/note.txt'],
]

/** Tomcat as user 1000, who owns the folders that Tomcat writes to; its reference in the first registry. */
export async function makeOwnedBase({ docker, project, addresses }: Demo): Promise<string> {
  const base = `${addresses[0]}/library/tomcat:demo`
  const owned = `${addresses[0]}/library/tomcat:owned`
  const script = `mkdir -p /srv/logs && chmod 2770 /srv/logs && chmod 1777 /tmp
    chown -R 1000:1000 /srv/logs ${WEBAPPS} /etc/tomcat10 /var/cache/tomcat10 /var/log/tomcat10`
  await docker('run', '--name', 'owned', '--user', '0', base, 'sh', '-ec', script)
  const changes = ['USER 1000', 'CMD ["catalina.sh", "run"]'].flatMap((line) => ['--change', line])
  await docker('commit', ...changes, 'owned', owned)
  await docker('push', owned)
  await docker('rm', 'owned')
  await mkdir(join(dirname(project), 'baked/logs'), { recursive: true })
  await writeFile(join(dirname(project), 'baked/logs/readme.txt'), 'logs go here')
  await writeFile(join(dirname(project), 'baked/note.txt'), 'a note')
  return owned
}

/** For a shell inside the container: fails unless user 1000 may write where the base lets it. */
export const PROBE = `id -u; stat -c '%a %u:%g %n' /tmp /srv/logs ${WEBAPPS}
  touch /tmp/mine /srv/logs/mine ${WEBAPPS}/mine && cat /srv/logs/readme.txt`
export const PROBED = `1000
1777 0:0 /tmp
2770 1000:1000 /srv/logs
775 1000:1000 ${WEBAPPS}
logs go here`

export async function keepOwners(t: Test, demo: Demo): Promise<void> {
  const base = await makeOwnedBase(demo)
  const { address, exec, remove } = await runBaked(demo, PAGE, ['--base', base, ...MORE])
  t.equal(await exec('sh', '-ec', PROBE), PROBED)
  const page = await fetch(address)
  t.equal(await page.text(), PAGE['index.html'], 'Tomcat unpacked the WAR as user 1000')
  await remove()
}
