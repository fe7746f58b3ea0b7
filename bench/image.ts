import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ZipFile } from 'yazl'
import { table } from '../src/cli/output.ts'
import { silentLog } from '../src/core/log.ts'
import { run } from '../src/core/process/process.ts'
import { startEngine } from '../src/demo/engine.ts'
import { startDockerRegistry } from '../test/support/servers/docker-registry.ts'
import { readJars } from './jars.ts'
import { median, time } from './measure.ts'

const ROUNDS = 5
const GOAL = { ratio: 0.25, bytes: 64 * 1024 }

/**
 * One class of a WAR with Debian's jars changes, and the image goes to a registry on loopback:
 * `docker build` + `docker push` against `bake-image` + `push-image`, whole processes, in turn.
 */
export async function benchImage() {
  const folder = await mkdtemp(join(tmpdir(), 'bench-image-'))
  const work = join(folder, 'project')
  await mkdir(work)
  const registry = await startDockerRegistry()
  const engine = await startEngine(folder, { log: silentLog })
  try {
    const docker = (...args: string[]) =>
      run('docker', ['-H', engine.url, ...args], { cwd: work, env: { DOCKER_BUILDKIT: '0' } })
    const base = `${registry.address}/library/base:1`
    await makeBase(work, base, docker)
    const jars = await readJars()
    await writeFile(
      join(work, 'Dockerfile'),
      `FROM ${base}\nCOPY webapi.war /usr/local/tomcat/webapps/ROOT.war\n`,
    )
    const rounds: { docker: number; ours: number; bytes: number }[] = []
    // The first round fills both caches and is not counted.
    for (let round = 0; round <= ROUNDS; round++) {
      await writeWar(join(work, 'webapi.war'), jars, round)
      const image = `${registry.address}/team/docker:${round}`
      const peer = await time(async () => {
        await docker('build', '--quiet', '--tag', image, '.')
        await docker('push', '--quiet', image)
      })
      let sent = 0
      const ours = await time(async () => {
        await crosscloud(work, 'bake-image', '--war', 'webapi.war', '--base', base, ...APP)
        const to = `${registry.address}/team/ours`
        const pushed = await crosscloud(
          work,
          'push-image',
          '--to',
          to,
          '--tag',
          `${round}`,
          '--no-record',
        )
        sent = Number((JSON.parse(pushed) as { bytesSent: number }).bytesSent)
      })
      if (round > 0) rounds.push({ docker: peer, ours, bytes: sent })
    }
    return report(rounds)
  } finally {
    await engine.stop()
    await registry.close()
    await rm(folder, { recursive: true, force: true })
  }
}

const APP = ['--app', 'webapi', '--webapp', '/usr/local/tomcat/webapps/ROOT']

async function crosscloud(cwd: string, ...args: string[]): Promise<string> {
  const main = join(process.cwd(), 'dist', 'cli', 'main.js')
  const env = { CROSSCLOUD_CACHE: join(cwd, '..', 'cache') }
  return (await run(process.execPath, [main, ...args, '--json'], { cwd, env })).stdout
}

/** Its size does not matter: both sides find it in the registry. */
async function makeBase(
  work: string,
  base: string,
  docker: (...args: string[]) => Promise<unknown>,
): Promise<void> {
  const files = join(work, '..', 'base')
  await mkdir(join(files, 'usr/local/tomcat/webapps'), { recursive: true })
  await writeFile(join(files, 'usr/local/tomcat/RELEASE-NOTES'), 'x'.repeat(1 << 20))
  await run('tar', ['-C', files, '-cf', join(work, '..', 'base.tar'), '.'])
  await docker('import', join(work, '..', 'base.tar'), base)
  await docker('push', '--quiet', base)
}

async function writeWar(path: string, jars: ReadonlyMap<string, Buffer>, round: number) {
  const zip = new ZipFile()
  const options = { mtime: new Date('2026-01-02T03:04:06Z'), mode: 0o100644 }
  for (const [name, content] of jars) zip.addBuffer(content, `WEB-INF/lib/${name}`, options)
  for (let index = 0; index < 40; index++) {
    const text = `class ${index} ${index === 7 ? round : 0} ${'code '.repeat(300)}`
    zip.addBuffer(Buffer.from(text), `WEB-INF/classes/com/example/C${index}.class`, options)
  }
  zip.addBuffer(Buffer.from('<web-app/>'), 'WEB-INF/web.xml', options)
  zip.end()
  await pipeline(zip.outputStream, createWriteStream(path))
}

function report(rounds: readonly { docker: number; ours: number; bytes: number }[]) {
  const medians = {
    docker: median(rounds.map((round) => round.docker)),
    ours: median(rounds.map((round) => round.ours)),
    ratio: median(rounds.map((round) => round.ours / round.docker)),
    bytes: Math.max(...rounds.map((round) => round.bytes)),
  }
  const seconds = (value: number) => `${(value / 1000).toFixed(2)} s`
  const text = [
    table(
      ['', 'docker build + push', 'bake-image + push-image', 'ratio', 'bytes sent'],
      [
        ...rounds.map((round, index) => [
          `round ${index + 1}`,
          seconds(round.docker),
          seconds(round.ours),
          (round.ours / round.docker).toFixed(2),
          String(round.bytes),
        ]),
        [
          'median',
          seconds(medians.docker),
          seconds(medians.ours),
          medians.ratio.toFixed(2),
          `at most ${medians.bytes}`,
        ],
      ],
    ),
    `goal: ratio ≤ ${GOAL.ratio}, bytes ≤ ${GOAL.bytes}: ${medians.ratio <= GOAL.ratio && medians.bytes <= GOAL.bytes ? 'met' : 'not met'}`,
  ].join('\n')
  return { json: { goal: GOAL, medians, rounds }, text }
}
