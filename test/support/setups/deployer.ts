import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { startCli } from '../cli.ts'
import { runHere } from '../program.ts'
import type { Sandbox } from './sandbox.ts'

/** Deploys in a sandbox: what is under test in a process of its own, which signals reach. */
export async function createDeployer(sandbox: Sandbox) {
  const settings = join(sandbox.folder, 'crosscloud.yml')
  const plain = await readFile(settings, 'utf8')
  /** How the application behaves from the next deployment on; it may take 30 s to stop. */
  const behave = (env: Record<string, string>) =>
    writeFile(
      settings,
      plain.replace('stop-timeout: 1s', `stop-timeout: 30s, env: ${JSON.stringify(env)}`),
    )
  const options = { cwd: sandbox.folder, env: sandbox.variables }
  const deploy = (version: string) => [
    ...['deploy', '--release', `webapi@${version}`, '--env', 'test', '--older'],
  ]
  const variables = { ...sandbox.variables, CROSSCLOUD_WORKER: '' }
  /** Deploys in this process: a deployment that is not under test needs none of its own. */
  const deployed = async (t: Test, version: string) => {
    const done = await runHere(deploy(version), { cwd: sandbox.folder, variables })
    t.equal(done.code, 0, `${version} is deployed: ${done.stderr}`)
    return done
  }
  const container = async (name = 'webapi-test') => {
    const { Id: id, State } = await sandbox.engine.docker.getContainer(name).inspect()
    return { id, running: State.Running }
  }
  const ledger = async () => {
    const context = sandbox.context()
    const found = await context.ledger()
    const [newest] = await found.deployments({ limit: 1 })
    const lock = await found.findLock('webapi', 'test')
    await context.close()
    return { newest, lock }
  }
  /** Starts a deployment over what runs and waits until its log says so. */
  const startAt = async (text: string, version = '1.0.1') => {
    const old = await container()
    const running = startCli(deploy(version), options)
    await running.until(text)
    return { ...running, old }
  }
  return { behave, deployed, container, ledger, startAt, options, deploy }
}
