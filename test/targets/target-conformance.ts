import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { compareFiles, readInstanceFile } from '../../src/targets/instance-files.ts'
import { instanceLabels } from '../../src/targets/labels.ts'
import { type HostResponse, isFailure } from '../../src/targets/responses.ts'
import {
  type Instance,
  type InstanceQuery,
  isRolloutFailure,
  type LogQuery,
  type RolloutRequest,
  type Target,
} from '../../src/targets/target.ts'

export interface TargetSetting {
  /** Runs nothing yet. */
  target: Target
  /** The demo images of two versions, by digest. */
  images: readonly [string, string]
  /** What is in /app/ROOT of the first. */
  application: Record<string, string>
}

const md5 = (text: string) => createHash('md5').update(text).digest('hex')

const PLACED = '/etc/deep/er/app.conf'

/** What every target must do. */
export async function targetConformance(t: Test, setting: TargetSetting): Promise<void> {
  const { target, images, application } = setting
  const { signal } = new AbortController()
  const find = async (query: InstanceQuery) => valuesOf(await target.instances(query)).flat()
  const current = () => find({ roles: ['current'] })
  const reading = (instance: Instance) => (path: string) => target.read(instance, path)
  const request = (image: string, version: string): RolloutRequest => ({
    image,
    labels: {
      [instanceLabels.application]: 'demo',
      [instanceLabels.environment]: 'test',
      [instanceLabels.version]: version,
      [instanceLabels.configFiles]: '{"/etc/deep/er/app.conf":"…"}',
    },
    files: [{ path: PLACED, content: Buffer.from('secret\n'), mode: 0o440, uid: 1001, gid: 1002 }],
    log: silentLog,
    signal,
    verify: async () => {},
  })

  await t.test('a target on which nothing runs has hosts and no instances', async (t) => {
    t.ok(target.hosts.length > 0)
    t.same(
      (await target.ping()).map(({ host }) => host),
      target.hosts,
    )
    t.same(await current(), [])
    t.same(await find({ labels: { [instanceLabels.application]: 'demo' } }), [])
    t.same(await find({ name: 'nothing' }), [])
  })

  await t.test('a rollout leaves an instance that was verified on every host', async (t) => {
    const verified: Instance[] = []
    const results = await target.rollOut({
      ...request(images[0], '1'),
      verify: async (instance) => {
        verified.push(instance)
        t.equal(String(await readInstanceFile(reading(instance), PLACED, 100)), 'secret\n')
      },
    })
    const running = await current()
    t.same(
      results.map(({ host, instanceId }) => [host, instanceId]),
      running.map(({ host, id }) => [host, id]),
    )
    t.same(new Set(running.map(({ host }) => host)), new Set(target.hosts))
    t.same(
      verified.map(({ host, id }) => [host, id]),
      running.map(({ host, id }) => [host, id]),
    )
    for (const instance of running) {
      t.match(instance, { role: 'current', running: true, exitCode: undefined, restarts: 0 })
      t.equal(instance.image, images[0])
      t.match(instance.labels, request(images[0], '1').labels, 'every label comes back')
    }
    for (const { downtime, duration, previousInstanceId } of results) {
      t.equal(downtime, 0, 'nothing was stopped')
      t.ok(duration > 0)
      t.equal(previousInstanceId, undefined)
    }
  })

  await t.test('a preview finds what a rollout would find, and changes nothing', async (t) => {
    const before = await current()
    const asked = { ...request(images[0], '1'), diffIds: ['sha256:of-another-image'] }
    const preview = async (more: object) => valuesOf(await target.preview({ ...asked, ...more }))
    const own = await preview({})
    t.match(own, [{ current: { running: true }, leftovers: [], heldLayers: 0 }])
    t.equal(own[0]?.refusal, undefined)
    const labels = { ...asked.labels, [instanceLabels.application]: 'another' }
    t.match(await preview({ labels }), [{ refusal: { code: 'CONFLICT' } }])
    t.equal((await preview({ labels, adopt: true }))[0]?.refusal, undefined)
    t.match(valuesOf(await target.remains()), [{ cutOff: undefined, running: [{}] }])
    t.same(await current(), before)
  })

  await t.test('instances are found by role, by label, by name and by id', async (t) => {
    const [instance] = await current()
    if (!instance) throw new Error('nothing runs')
    const { name, id } = instance
    const own = {
      [instanceLabels.application]: 'demo',
      [instanceLabels.environment]: 'test',
    }
    const isFound = async (query: InstanceQuery) =>
      (await find(query)).some((found) => found.id === id && found.role === 'current')
    t.ok(await isFound({ labels: own }))
    t.notOk(await isFound({ labels: { ...own, [instanceLabels.environment]: 'other' } }))
    t.ok(await isFound({ name }))
    t.ok(await isFound({ name: id }))
    t.notOk(await isFound({ name: id.slice(0, 8) }), 'part of an id is no name')
    t.notOk(await isFound({ roles: ['next', 'previous'] }))
  })

  await t.test('files of an instance are compared as they stream by', async (t) => {
    const [instance] = await current()
    if (!instance) throw new Error('nothing runs')
    const read = reading(instance)
    const expected = new Map(Object.entries(application).map(([path, text]) => [path, md5(text)]))
    expected.set('z-hard.txt', md5(application['index.html'] ?? ''))
    const options = { extraAllowed: new Set<string>(), signal }
    t.same(await compareFiles(read, '/app/ROOT', expected, options), {
      files: 4,
      changed: [],
      missing: [],
      extra: [],
    })
    const wrong = new Map(expected).set('WEB-INF/web.xml', md5('other')).set('gone.txt', md5(''))
    wrong.delete('index.html')
    t.same(await compareFiles(read, '/app/ROOT', wrong, options), {
      files: 2,
      changed: ['WEB-INF/web.xml'],
      missing: ['gone.txt'],
      extra: ['index.html'],
    })
    const extraAllowed = new Set(['index.html'])
    const allowed = await compareFiles(read, '/app/ROOT', wrong, { extraAllowed, signal })
    t.same(allowed.extra, [])
    const page = new Map([['index.html', md5(application['index.html'] ?? '')]])
    t.equal((await compareFiles(read, '/app/ROOT/index.html', page, options)).files, 1)
    await t.rejects(compareFiles(read, '/nowhere', page, options), {
      code: 'NOT_FOUND',
      message: /\/nowhere/,
    })
    const cancelled = { ...options, signal: AbortSignal.abort() }
    await t.rejects(compareFiles(read, '/app', page, cancelled), { code: 'CANCELLED' })
    await t.rejects(readInstanceFile(read, PLACED, 5), { code: 'CONFLICT' })
    await t.rejects(readInstanceFile(read, '/etc/deep', 5), { code: 'NOT_FOUND' })
  })

  await t.test('what is not as the image has it is listed, and what was printed', async (t) => {
    const [instance] = await current()
    if (!instance) throw new Error('nothing runs')
    const { changes } = await target.changes(instance)
    t.match(
      changes.filter(({ path }) => path === PLACED),
      [{ kind: 'added' }],
    )
    t.notOk(changes.some(({ path }) => path.startsWith('/app/ROOT/')))
    t.equal(await target.isFolder(instance, '/app/ROOT'), true)
    t.equal(await target.isFolder(instance, PLACED), false)
    t.equal(await target.isFolder(instance, '/nowhere'), false)
    t.equal(await target.readLink(instance, '/app/ROOT'), undefined)
    t.equal(await target.readLink(instance, '/nowhere'), undefined)
    t.ok((await target.logs(instance, 30)).includes('demo 1 starts'))
    t.equal((await target.logs(instance, 1)).length, 1)
  })

  await t.test('the log comes with its times, by lines and by moments', async (t) => {
    const [instance] = await current()
    if (!instance) throw new Error('nothing runs')
    const read = async (query: LogQuery, until = signal) => {
      const lines = []
      for await (const line of target.readLog(instance, query, until)) lines.push(line)
      return lines
    }
    const all = await read({})
    t.ok(all.some(({ text }) => text === 'demo 1 starts'))
    for (const { at } of all) t.match(at, /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z$/)
    const [last] = await read({ lines: 1 })
    t.same(await read({ since: last?.at ?? '' }), [last], 'that moment is in')
    t.same(await read({ until: all[0]?.at ?? '' }), all.slice(0, 1), 'here, too')
    t.same(await read({ until: '2020-01-31T12:00:00Z' }), [])
    const stop = new AbortController()
    const seen: string[] = []
    await t.rejects(
      async () => {
        for await (const { text } of target.readLog(instance, { follow: true }, stop.signal)) {
          seen.push(text)
          if (seen.length === all.length) stop.abort()
        }
      },
      { code: 'CANCELLED' },
    )
    t.same(
      seen,
      all.map(({ text }) => text),
    )
    const gone = { ...instance, id: 'nothing' }
    await t.rejects(target.readLog(gone, {}, signal)[Symbol.asyncIterator]().next(), {
      code: 'NOT_FOUND',
    })
  })

  await t.test('a command runs in an instance, and its end and its lines come back', async (t) => {
    const [instance] = await current()
    if (!instance) throw new Error('nothing runs')
    const lines: string[] = []
    const onLine = (line: string, stream: string) => lines.push(`${stream}: ${line}`)
    // The port is taken by the server that runs there already.
    t.equal(await target.exec(instance, ['/server'], { signal, onLine }), 7)
    t.same(lines.sort().slice(0, 1), ['stderr: a line on stderr'])
    t.ok(lines.includes('stdout: demo 1 starts'))
    const unknown = await target.exec(instance, ['/no such program'], { signal, onLine() {} }).then(
      (code) => code,
      ({ code }) => code,
    )
    t.ok([126, 127, 'INPUT_INVALID', 'COMMAND_FAILED'].includes(unknown), `${unknown}`)
  })

  await t.test('an instance says what it uses, and what it was started with', async (t) => {
    const [instance] = await current()
    if (!instance) throw new Error('nothing runs')
    const { cpu, startedAt } = await target.stats(instance)
    t.ok(cpu >= 0)
    t.ok(Date.parse(startedAt) <= Date.now())
    t.match(await target.variables(instance), { VERSION: '1' })
    await t.rejects(target.threadDump(instance, signal), {
      code: 'CONFLICT',
      message: /\/server, not java/,
    })
  })

  await t.test('hosts say what they are, and which images they keep', async (t) => {
    const checks = valuesOf(await target.check())
    t.equal(checks.length, target.hosts.length)
    for (const { facts } of checks) {
      t.match(facts, { engine: /\d/, apiVersion: /^\d+\.\d+$/ })
      t.equal(facts.clockAhead ?? 0, 0)
    }
    if (target.images === undefined) return
    const [running] = await current()
    for (const images of valuesOf(await target.images.list())) {
      const ours = images.find(({ references }) => references.includes(running?.image ?? ''))
      t.match(ours, { usedBy: [{ name: running?.name, running: true }] })
      t.ok((ours?.size ?? 0) > 100_000)
    }
    const host = target.hosts[0] ?? ''
    await target.images.remove(host, images[0].replace(/.{8}$/, '00000000'))
    await t.rejects(target.images.remove(host, running?.image ?? ''), { code: 'CONFLICT' })
  })

  await t.test('a rollout that fails restores the old instances', async (t) => {
    const before = await current()
    const error = await target
      .rollOut({
        ...request(images[1], '2'),
        verify: async () => {
          throw new StepError('VERIFY_FAILED', 'index.html was changed', { hint: 'bake again' })
        },
      })
      .catch((thrown: unknown) => thrown)
    if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
    t.match(error, { code: 'VERIFY_FAILED', message: /index\.html/, hint: 'bake again' })
    t.same(
      error.standings.map(({ host, serves, instanceId }) => [host, serves, instanceId]),
      before.map(({ host, id }) => [host, 'old', id]),
    )
    t.same(
      (await current()).map(({ id, running }) => [id, running]),
      before.map(({ id }) => [id, true]),
    )
  })

  await t.test('nothing changes without an image, a lock, or before a cancel', async (t) => {
    const before = await current()
    t.ok(before.length > 0)
    const unknown = images[1].replace(/.{8}$/, '00000000')
    await t.rejects(target.rollOut(request(unknown, '2')), { code: 'NOT_FOUND' })
    const checkLock = async () => {
      throw new StepError('CONFLICT', 'the lock was lost')
    }
    await t.rejects(target.rollOut({ ...request(images[1], '2'), checkLock }), {
      code: 'CONFLICT',
      message: 'the lock was lost',
    })
    const cancelled = { ...request(images[1], '2'), signal: AbortSignal.abort() }
    await t.rejects(target.rollOut(cancelled), { code: 'CANCELLED' })
    t.same(await current(), before)
  })

  await t.test('a rollout over another names what it replaced', async (t) => {
    const before = await current()
    const results = await target.rollOut(request(images[1], '2'))
    t.same(
      results.map(({ previousInstanceId }) => previousInstanceId),
      before.map(({ id }) => id),
    )
    for (const { downtime, duration } of results) t.ok(downtime <= duration)
    for (const { image, labels } of await current()) {
      t.equal(image, images[1])
      t.equal(labels[instanceLabels.version], '2')
    }
    t.same(await find({ roles: ['next'] }), [], 'nothing is half-done')
  })

  await t.test('a stopped instance is kept and started again; a removed one is gone', async (t) => {
    const [instance] = await current()
    if (!instance) throw new Error('nothing runs')
    const again = async () => (await current()).find(({ id }) => id === instance.id)
    await target.stop(instance)
    await target.stop(instance)
    t.match(await again(), { running: false, exitCode: 0 })
    await target.start(instance)
    await target.start(instance)
    t.match(await again(), { running: true, exitCode: undefined })
    const { startedAt } = await target.stats(instance)
    await target.restart(instance, signal)
    t.match(await again(), { running: true, exitCode: undefined })
    t.ok((await target.stats(instance)).startedAt > startedAt)
    await target.remove(instance)
    await target.remove(instance)
    t.equal(await again(), undefined)
    await t.rejects(target.start(instance), { code: 'NOT_FOUND' })
  })
}

export function valuesOf<T>(responses: readonly HostResponse<T>[]): T[] {
  return responses.map((response) => {
    if (isFailure(response)) throw response.error
    return response.value
  })
}
