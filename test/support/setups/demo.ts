import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parseDocument } from 'yaml'
import { createContext } from '../../../src/context.ts'
import { describe } from '../../../src/core/errors.ts'
import { silentLog } from '../../../src/core/log.ts'
import { run } from '../../../src/core/process/process.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { type BaseImage, prepareBaseRootfs } from '../../../src/demo/base-image.ts'
import { pushBase } from '../../../src/demo/base-push.ts'
import { prepareMaven } from '../../../src/demo/maven.ts'
import { baseIn, writeProject } from '../../../src/demo/project.ts'
import { parseReference } from '../../../src/registry/reference.ts'
import { startRegistry } from '../../../src/registry-server/server.ts'
import { type Finished, type Running, startCli } from '../cli.ts'
import { DEMO_FOLDER } from '../folders.ts'
import { runHere } from '../program.ts'
import { startDockerRegistry } from '../servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../servers/engine.ts'
import { publishDemoImage } from './demo-image.ts'

/** A shell, whatever job or server runs these tests. */
const NO_JOB = { GITLAB_CI: '', GITHUB_ACTIONS: '', CROSSCLOUD_SERVER: '', GITLAB_USER_LOGIN: '' }

/** The example application on this machine: Maven, Tomcat, an engine and two registries, all real. */
export interface Demo {
  project: string
  engine: TestEngine
  /** Of the registries of test and of the environments after it. */
  addresses: readonly [string, string]
  docker: (...args: string[]) => Promise<string>
  /** The command line in this process: a start of its own costs more than most commands. */
  cli: (...args: string[]) => Promise<Finished>
  /** What it prints with `--json`; fails when the command does. */
  json: (...args: string[]) => Promise<Record<string, unknown>>
  /** The command line as its users start it. */
  start: (...args: string[]) => Running
}

/**
 * On the `small` server the application's files are baked, deployed and compared as on Tomcat, at a
 * tenth of the cost; it says 200 to everything.
 * @returns as a text, why there can be none here
 */
export async function createDemo(
  t: Pick<Test, 'teardown'>,
  { server = 'tomcat' }: { server?: 'tomcat' | 'small' } = {},
): Promise<Demo | string> {
  const missing = noEngine('docker-registry', ...(server === 'small' ? ['gcc'] : []))
  if (missing) return missing
  const engine = await startEngine()
  t.teardown(() => engine.stop())
  const second = await startDockerRegistry()
  t.teardown(() => second.close())
  const work = await mkdtemp(join(tmpdir(), 'demo-'))
  t.teardown(() => rm(work, { recursive: true, force: true }))
  const first = await startRegistry({ folder: join(work, 'registry') })
  t.teardown(() => first.close())
  let machine: Parameters<typeof writeProject>[1]
  try {
    machine = {
      mavenArgs: await prepareMaven(DEMO_FOLDER),
      ...(server === 'tomcat' && { base: await prepareBaseRootfs(DEMO_FOLDER, silentLog) }),
      engine: { socket: engine.socket, url: engine.address, own: false, stop: async () => {} },
    }
  } catch (error) {
    return describe(error)
  }
  const addresses = [first.address, second.address] as const
  const project = await writeProject(work, machine, addresses)
  const env = { CROSSCLOUD_CACHE: join(work, 'cache') }
  if (machine.base) await pushTomcat(project, machine.base, baseIn(addresses))
  else await useSmallServer(project, engine, first.address)
  const cli = (...args: string[]) =>
    runHere(args, { cwd: project, variables: { ...process.env, ...NO_JOB, ...env } })
  return {
    project,
    engine,
    addresses,
    cli,
    start: (...args) => startCli(args, { cwd: project, env }),
    docker: async (...args) => (await run('docker', ['-H', engine.address, ...args])).stdout,
    async json(...args) {
      const { code, stdout, stderr } = await cli(...args, '--json')
      if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stderr}\n${stdout}`)
      return JSON.parse(stdout) as Record<string, unknown>
    },
  }
}

async function pushTomcat(project: string, base: BaseImage, reference: string): Promise<void> {
  const context = createContext({
    cwd: project,
    variables: {},
    log: silentLog,
    secrets: createSecrets(),
    signal: new AbortController().signal,
  })
  await pushBase(await context.registry(), base, parseReference(reference), silentLog)
  await context.close()
}

async function useSmallServer(project: string, engine: TestEngine, registry: string) {
  const file = join(project, 'crosscloud.yml')
  const settings = parseDocument(await readFile(file, 'utf8'))
  const base = await publishDemoImage(engine, `${registry}/library/small`, '1')
  settings.setIn(['image', 'base'], base)
  settings.setIn(['image', 'webapp'], '/srv/web')
  await writeFile(file, settings.toString())
}
