import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parse } from 'yaml'
import { writeWar } from '../data/war.ts'
import { runHere } from '../program.ts'
import { until } from '../until.ts'
import type { Demo } from './demo.ts'

export interface RunningImage {
  /** By digest. */
  image: string
  /** `http://127.0.0.1:PORT/` */
  address: string
  exec: (...args: string[]) => Promise<string>
  remove: () => Promise<void>
}

/** Bakes a WAR of these files on the demo's Tomcat, and pushes it. @returns the image by digest */
export async function bakeFiles(
  { project, addresses }: Pick<Demo, 'project' | 'addresses'>,
  files: Readonly<Record<string, string>>,
  more: readonly string[] = [],
): Promise<string> {
  const { image } = parse(await readFile(join(project, 'crosscloud.yml'), 'utf8'))
  const work = dirname(project)
  const cwd = join(work, 'baked')
  await mkdir(cwd, { recursive: true })
  await writeWar(join(cwd, 'small.war'), files)
  const cli = async (...args: string[]) => {
    // The demo's, with the key of its seals: what is known of the base is not read again.
    const variables = { CROSSCLOUD_CACHE: join(work, 'cache'), HOME: process.env.HOME }
    const { code, stdout, stderr } = await runHere([...args, '--json'], { cwd, variables })
    if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stderr}`)
    return JSON.parse(stdout) as { image: string }
  }
  const given = more.includes('--base') ? [] : ['--base', image.base]
  const inputs = ['--app', 'small', '--war', 'small.war', '--webapp', image.webapp, ...given]
  await cli('bake-image', ...inputs, ...more)
  return (await cli('push-image', '--to', `${addresses[0]}/team/small`, '--no-record')).image
}

/** The same in a container, once its Tomcat responds. */
export async function runBaked(
  demo: Demo,
  files: Readonly<Record<string, string>>,
  more: readonly string[] = [],
): Promise<RunningImage> {
  const { docker } = demo
  const image = await bakeFiles(demo, files, more)
  const id = await docker('run', '--detach', '--publish', '127.0.0.1::8080', image)
  const address = `http://${await docker('port', id, '8080/tcp')}/`
  const ready = await until(async () => {
    // The first request of a process never ends on Node 20 when the peer closes at once.
    const signal = AbortSignal.timeout(2000)
    return fetch(address, { signal }).then(
      () => true,
      () => false,
    )
  })
  if (!ready) throw new Error(`Tomcat does not respond:\n${await docker('logs', id)}`)
  return {
    image,
    address,
    exec: (...args) => docker('exec', id, ...args),
    remove: async () => void (await docker('rm', '--force', id)),
  }
}
