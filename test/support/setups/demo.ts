import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createContext } from '../../../src/context.ts'
import { describe } from '../../../src/core/errors.ts'
import { silentLog } from '../../../src/core/log.ts'
import { run } from '../../../src/core/process/process.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { prepareBaseRootfs } from '../../../src/demo/base-image.ts'
import { pushBase } from '../../../src/demo/base-push.ts'
import { prepareMaven } from '../../../src/demo/maven.ts'
import { baseIn, writeProject } from '../../../src/demo/project.ts'
import { parseReference } from '../../../src/registry/reference.ts'
import { startRegistry } from '../../../src/registry-server/server.ts'
import { type Finished, runCli } from '../cli.ts'
import { DEMO_FOLDER } from '../folders.ts'
import { startDockerRegistry } from '../servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../servers/engine.ts'

/** The example application on this machine: Maven, Tomcat, an engine and two registries, all real. */
export interface Demo {
  project: string
  engine: TestEngine
  /** Of the registries of test and of the environments after it. */
  addresses: readonly [string, string]
  docker: (...args: string[]) => Promise<string>
  cli: (...args: string[]) => Promise<Finished>
  json: (...args: string[]) => Promise<Record<string, unknown>>
}

/** Why there can be none here, as a text. */
export async function createDemo(t: Pick<Test, 'teardown'>): Promise<Demo | string> {
  const missing = noEngine('docker-registry')
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
      base: await prepareBaseRootfs(DEMO_FOLDER, silentLog),
      engine: { socket: engine.socket, url: engine.address, own: false, stop: async () => {} },
    }
  } catch (error) {
    return describe(error)
  }
  const addresses = [first.address, second.address] as const
  const project = await writeProject(work, machine, addresses)
  const env = { CROSSCLOUD_CACHE: join(work, 'cache') }
  if (machine.base) {
    const context = createContext({
      cwd: project,
      variables: {},
      log: silentLog,
      secrets: createSecrets(),
      signal: new AbortController().signal,
    })
    await pushBase(
      await context.registry(),
      machine.base,
      parseReference(baseIn(addresses)),
      silentLog,
    )
    await context.close()
  }
  const cli = (...args: string[]) => runCli(args, { cwd: project, env })
  return {
    ...{ project, engine, addresses },
    cli,
    docker: async (...args) => (await run('docker', ['-H', engine.address, ...args])).stdout,
    async json(...args) {
      const { code, stdout, stderr } = await cli(...args, '--json')
      if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stderr}\n${stdout}`)
      return JSON.parse(stdout) as Record<string, unknown>
    },
  }
}
