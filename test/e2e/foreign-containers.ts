import type { Test } from 'tap'
import { approve } from '../../src/steps/approve.ts'
import { deploy } from '../../src/steps/deploy.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { promote } from '../../src/steps/promote.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import type { Step } from '../../src/steps/step.ts'
import { listen, type Sandbox } from '../support/setups/sandbox.ts'

/** What a deployment does where its container's name belongs to another application. */
export async function foreignContainers(t: Test, sandbox: Sandbox): Promise<void> {
  const { docker } = sandbox.engine
  const run = async (step: Step, inputs: object, captured = listen()) => {
    const context = sandbox.context({ log: captured.log })
    try {
      await runStep(step, inputs, context)
    } finally {
      await context.close()
    }
    return captured.text()
  }
  const put = (version: string, more: object = {}) =>
    run(deploy as unknown as Step, { release: `webapi@${version}`, env: 'test', ...more })
  const look = async (name: string) => {
    const { Id: id, State, Mounts } = await docker.getContainer(name).inspect()
    return {
      id,
      running: State.Running,
      volume: Mounts.find(({ Type }) => Type === 'volume')?.Name,
    }
  }
  const names = async () => {
    const all = await docker.listContainers({ all: true })
    return all.flatMap(({ Names }) => Names.map((name) => name.slice(1))).sort()
  }
  await sandbox.configure('sqlite:shared.db', '', 'name: webapi-own')
  await sandbox.release('4.0.0')
  await put('4.0.0')
  const { Image } = await docker.getContainer('webapi-own').inspect()
  /** A running container with a volume of its own, as `docker run` makes it. */
  const stranger = async (name: string, Labels: Record<string, string> = {}) => {
    const made = await docker.createContainer({
      name,
      Image,
      Labels,
      Volumes: { '/data': {} },
      HostConfig: { RestartPolicy: { Name: 'always' } },
    })
    await made.start()
    return look(name)
  }

  await t.test('a container of another application is not replaced', async (t) => {
    await sandbox.configure('sqlite:shared.db', '', 'name: webapi-taken')
    const before = await stranger('webapi-taken')
    await t.rejects(put('4.0.0'), {
      code: 'CONFLICT',
      message: `host app-01: webapi-taken was not put there by crosscloud: its image is ${Image}`,
      hint: /deploy --release webapi@\S+ --env test --adopt/,
    })
    t.same(await look('webapi-taken'), before)
    await docker.getContainer('webapi-taken').rename({ name: 'webapi-taken.next' })
    await t.rejects(put('4.0.0'), { message: /webapi-taken\.next was not put there/ })
    t.same(await look('webapi-taken.next'), before, 'nor is what has the name of a helper')
    await docker.getContainer(before.id).remove({ force: true })

    const labels = { 'io.crosscloud.application': 'shop', 'io.crosscloud.environment': 'live' }
    const shop = await stranger('webapi-taken', labels)
    await t.rejects(put('4.0.0'), {
      message: 'host app-01: webapi-taken is of shop in live, not of webapi in test',
    })
    t.same(await look('webapi-taken'), shop)
    await docker.getContainer(shop.id).remove({ force: true })
  })

  await t.test('a container that another ledger records is not replaced', async (t) => {
    await sandbox.configure('sqlite:other.db', '', 'name: webapi-own')
    await sandbox.release('4.0.0')
    const before = await look('webapi-own')
    await t.rejects(put('4.0.0'), {
      code: 'CONFLICT',
      message: /host app-01: webapi-own was deployed from another ledger, \S+$/,
    })
    t.same(await look('webapi-own'), before)
  })

  await t.test(
    'an adopted container is restored when the deployment fails, and kept stopped otherwise',
    async (t) => {
      await sandbox.configure('sqlite:other.db', '', 'name: webapi-adopted, env: { EXIT: "3" }')
      const before = await stranger('webapi-adopted')
      await t.rejects(put('4.0.0', { adopt: true }), { message: /webapi-adopted\.next ended/ })
      t.same(await look('webapi-adopted'), before, 'it serves again')

      await sandbox.configure('sqlite:other.db', '', 'name: webapi-adopted')
      const kept = `webapi-adopted.adopted-${before.id.slice(0, 12)}`
      const text = await put('4.0.0', { adopt: true })
      t.match(text, `the container that was called webapi-adopted is kept, stopped: ${kept}`)
      for (const round of [1, 2]) {
        t.same(await look(kept), { ...before, running: false }, `after ${round} deployments`)
        await put('4.0.0')
      }
      const { Volumes } = await docker.listVolumes()
      t.ok(
        Volumes.some(({ Name }) => Name === before.volume),
        'with its volume',
      )
      const ours = (await names()).filter((name) => name.startsWith('webapi-adopted'))
      t.same(ours, ['webapi-adopted', kept, 'webapi-adopted.previous'].sort())
    },
  )

  await t.test('after a change of the container name the old container is named', async (t) => {
    await sandbox.configure('sqlite:other.db', '', 'name: webapi-renamed')
    const log = await put('4.0.0')
    t.match(log, /warning: host app-01: webapi-adopted, of the same application and environment/)
    t.notMatch(log, 'webapi-adopted.adopted')
    t.notMatch(await put('4.0.0'), 'of the same application', 'once')
  })

  await t.test('a release of another application is refused', async (t) => {
    const more = [
      `  staging: { from: test, image: "${sandbox.repository}-staging" }`,
      'identity: unverified',
    ]
    await sandbox.configure('sqlite:other.db', more.join('\n'), 'name: webapi-renamed')
    const refused = {
      code: 'INPUT_INVALID',
      message: /^shop@1\.0\.0 is of shop, and \S+crosscloud\.yml is of webapi$/,
    }
    const release = 'shop@1.0.0'
    const table: [step: unknown, inputs: object][] = [
      [deploy, { release, env: 'test' }],
      [approve, { release, env: 'test' }],
      [promote, { release, to: 'staging' }],
    ]
    for (const [step, inputs] of table) {
      await t.rejects(run(step as Step, inputs), refused, (step as Step).name)
    }
    await t.rejects(sandbox.release('1.0.0', undefined, { app: 'shop' }), refused, pushImage.name)
  })
}
