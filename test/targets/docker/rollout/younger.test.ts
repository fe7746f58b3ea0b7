import t from 'tap'
import { StepError } from '../../../../src/core/errors.ts'
import { createLog } from '../../../../src/core/log.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../../../../src/targets/docker/host.ts'
import { rollOut } from '../../../../src/targets/docker/rollout/rollout.ts'
import { isRolloutFailure } from '../../../../src/targets/target.ts'
import { settings as base } from '../host-conformance.ts'

const LOCK = 'test.lock'
const spec = (token: number): ContainerSpec => ({
  name: 'web',
  image: 'team/web@sha256:1',
  files: [],
  labels: { [LOCK]: `ledger-1:${token}` },
  settings: { ...base, health: undefined },
})

/** A host in memory, and every verb that changed it. */
function createHost(name: string) {
  const containers = new Map<string, ContainerInfo>()
  const changes: string[] = []
  let count = 0
  const find = (key: string) => containers.get(key) ?? byName(key)
  const byName = (key: string) => [...containers.values()].find(({ name }) => name === key)
  const put = ({ name, image, labels }: ContainerSpec, running: boolean) => {
    const id = `${name}-${++count}`
    const info = { id, name, image, labels, running, exitCode: 0, restarts: 0 }
    containers.set(id, { ...info, address: () => undefined })
    return containers.get(id) as ContainerInfo
  }
  const change = (verb: string, id: string, facts: Partial<ContainerInfo>) => {
    const found = find(id)
    if (!found) throw new StepError('NOT_FOUND', `host ${name}: ${verb} ${id}: no such container`)
    changes.push(`${verb} ${found.name}`)
    containers.set(found.id, { ...found, ...facts })
  }
  const host = {
    name,
    ping: async () => {},
    checkSettings: async () => {},
    pull: async () => {},
    inspect: async (key: string) => find(key),
    create: async (wanted: ContainerSpec) => put(wanted, false),
    start: async (id: string) => change('start', id, { running: true }),
    stop: async (id: string) => change('stop', id, { running: false }),
    rename: async (id: string, to: string) => change('rename', id, { name: to }),
    remove: async (id: string) => void containers.delete(find(id)?.id ?? ''),
    logs: async () => [],
  } as Partial<Host> as Host
  return { host, containers, changes, put }
}

/** What a deployer finds that stood still while lock 2 was given, and whatever woke it. */
async function wake(lockOf: (isAwake: boolean) => Promise<void>) {
  const { host, containers, changes, put } = createHost('app-01')
  const old = put({ ...spec(0), labels: {} }, true)
  let logged = ''
  const write = (text: string) => {
    logged += text
  }
  const log = createLog({ format: 'plain', write, mask: (text) => text })
  let isAwake = false
  const checkLock = () => lockOf(isAwake)
  const start = async () => {
    isAwake = true
    containers.clear()
    containers.set(old.id, { ...old, name: 'web.previous', running: false })
    put(spec(2), true)
    changes.length = 0
    throw new StepError('CANCELLED', 'stopped by SIGTERM')
  }
  const { signal } = new AbortController()
  const options = { spec: spec(1), log, signal, verify: async () => {}, lockLabel: LOCK, checkLock }
  const error = await rollOut({ hosts: [{ ...host, start }], ...options }).catch(
    (thrown: unknown) => thrown,
  )
  if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
  const left = [...containers.values()].map(
    ({ name, running }) => `${name} ${running ? 'up' : 'down'}`,
  )
  return { error, logged, changes, left }
}

await t.test('restoring does not touch the container of a younger deployment', async (t) => {
  const { error, logged, changes, left } = await wake(async () => {})
  t.same(changes, [])
  t.same(left, ['web.previous down', 'web up'])
  t.match(error, {
    code: 'CONFLICT',
    message:
      /^host app-01: web was put there under lock 2, younger than ours, 1\n {2}app-01: left as/,
    hint: /^Another deployment came after this one/,
    standings: [{ host: 'app-01', serves: 'other', touched: true }],
    prove: undefined,
  })
  t.notMatch(logged, /could not be put right|NOT brought back/)
})

await t.test('restoring does not touch a younger container after the lock is lost', async (t) => {
  const { error, logged, changes } = await wake(async (isAwake) => {
    if (isAwake) throw new StepError('CONFLICT', 'li lost the lock of web in test')
  })
  t.same(changes, [])
  t.match(logged, /error: li lost the lock of web in test/)
  t.match(error, { code: 'CONFLICT', standings: [{ serves: 'other' }] })
})
