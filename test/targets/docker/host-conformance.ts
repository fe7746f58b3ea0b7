import type { Test } from 'tap'
import { extract } from 'tar-stream'
import type { ContainerSettings, ContainerSpec, Host } from '../../../src/targets/docker/host.ts'
import { parseHealth, parsePort } from '../../../src/targets/docker/notation.ts'
import { fetchText } from '../../support/servers/http.ts'

export interface ConformanceSetting {
  host: Host
  /** The demo image of test/support/setups/demo-image.ts by digest, not pulled yet. */
  image: string
}

export const settings: ContainerSettings = {
  network: 'bridge',
  ports: [parsePort('127.0.0.1::8080')],
  volumes: [],
  env: {},
  memory: 64 * 1024 * 1024,
  restart: 'always',
  stopTimeout: 2,
  health: { http: parseHealth(':8080/healthz'), timeout: 60_000 },
}

/** What every driver of a host must do. */
export async function hostConformance(t: Test, setting: ConformanceSetting): Promise<void> {
  const { host, image } = setting
  const name = `conform-${Math.random().toString(36).slice(2, 8)}`
  const spec: ContainerSpec = {
    name,
    image,
    labels: { 'test.run': name, 'test.kind': 'conformance' },
    settings: { ...settings, env: { FILE: '/etc/deep/er/app.conf', EMPTY: '', EQUALS: 'a=b c' } },
    files: [
      {
        path: '/etc/deep/er/app.conf',
        content: Buffer.from('secret of it\n'),
        mode: 0o440,
        uid: 1001,
        gid: 1002,
      },
      {
        path: `/app/ROOT/${'long-name-'.repeat(12)}.properties`,
        content: Buffer.alloc(300_000, 'y'),
        mode: 0o644,
        uid: 0,
        gid: 0,
      },
    ],
  }

  await t.test('an image is pulled by digest only, and once', async (t) => {
    await host.ping()
    await t.rejects(host.create(spec), { code: 'NOT_FOUND' }, 'not pulled yet')
    await host.pull(image)
    await host.pull(image, () => t.fail('pulled what it has'))
    const tagged = image.replace(/@.*/, ':1')
    await t.rejects(host.pull(tagged), { code: 'INPUT_INVALID', message: /no digest/ })
    const unknown = image.replace(/.{8}$/, '00000000')
    await t.rejects(host.pull(unknown), {
      code: 'NOT_FOUND',
      message: new RegExp(`^host ${host.name}: pulling ${unknown}: `),
    })
  })

  await t.test('a container has its files before it starts', async (t) => {
    t.equal(await host.inspect(name), undefined)
    const created = await host.create(spec)
    t.match(created, { name, image, running: false, exitCode: undefined, labels: spec.labels })
    t.match(
      (await host.list({ 'test.run': name })).map(({ id }) => id),
      [created.id],
    )
    t.same(await host.list({ 'test.run': name, 'test.kind': 'other' }), [])

    const entries = await tarHeaders(host, created.id, '/etc/deep')
    t.same(entries, {
      'deep/': [0o755, 0, 0],
      'deep/er/': [0o755, 0, 0],
      'deep/er/app.conf': [0o440, 1001, 1002],
    })
    await host.start(created.id)
    await host.start(created.id)
    const running = await host.inspect(name)
    t.match(running, { id: created.id, running: true, exitCode: undefined, restarts: 0 })
    const url = running?.address(8080)
    t.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
    t.equal(await untilText(`${url}/`), '1', 'the published port answers')
    const lines = await host.logs(created.id, 30)
    t.same(
      [...lines].sort(),
      ['a line on stderr', 'demo 1 starts', 'file: secret of it', ''].sort(),
    )
    t.equal((await host.logs(created.id, 2)).length, 2)
    t.equal((await host.inspect(created.id))?.name, name, 'by id too')
    t.equal(await host.inspect(created.id.slice(0, 12)), undefined, 'part of an id is no name')
  })

  await t.test('a name is given once, and can be changed', async (t) => {
    await t.rejects(host.create({ ...spec, files: [] }), {
      code: 'CONFLICT',
      message: new RegExp(`^host ${host.name}: creating ${name}: `),
    })
    const other = await host.create({ ...spec, name: `${name}.next`, files: [] })
    await t.rejects(host.rename(other.id, name), { code: 'CONFLICT' })
    await host.rename(other.id, `${name}.other`)
    t.equal((await host.inspect(`${name}.other`))?.id, other.id)
    t.equal(await host.inspect(`${name}.next`), undefined)
    await host.remove(other.id)
    await host.remove(other.id)
    await t.rejects(host.rename(other.id, 'x'), { code: 'NOT_FOUND' })
    await t.rejects(host.start(other.id), { code: 'NOT_FOUND' })
    await host.stop(other.id, 1)
    t.equal(await host.inspect(other.id), undefined)
  })

  await t.test('a container that cannot get its files does not stay', async (t) => {
    const file = { content: Buffer.from('x'), mode: 0o644, uid: 0, gid: 0 }
    for (const path of ['etc/x', '/etc/../x', '/etc/./x', '/etc//x', '/etc/x/', '/a\0b', '/']) {
      const files = [{ ...file, path }]
      await t.rejects(host.create({ ...spec, name: `${name}.bad`, files }), {
        code: 'INPUT_INVALID',
      })
    }
    const files = [{ ...file, path: '/server/below/a/file' }]
    await t.rejects(host.create({ ...spec, name: `${name}.bad`, files }), {
      code: 'INPUT_INVALID',
      message: /\/server is not a folder/,
    })
    t.equal(await host.inspect(`${name}.bad`), undefined)
  })

  await t.test('a stopped container is kept, a removed container is not', async (t) => {
    const { id = '' } = (await host.inspect(name)) ?? {}
    await host.stop(id, 2)
    await host.stop(id, 2)
    t.match(await host.inspect(name), { running: false, exitCode: 0 })
    await host.start(id)
    t.match(await host.inspect(name), { running: true, restarts: 0 })
    await host.remove(id)
    t.equal(await host.inspect(name), undefined)
    t.same(await host.list({ 'test.run': name }), [])
  })

  await t.test('a container is run to its end, with its lines and its exit code', async (t) => {
    const once = { ...settings, ports: [], restart: 'no' as const, health: undefined }
    const make = (...command: string[]) =>
      host.create({ ...spec, name: `${name}.once`, files: [], settings: once, command })
    const failing = await make('/server', '3', 'ünïcode')
    const lines: string[] = []
    const { signal } = new AbortController()
    t.equal(await host.run(failing.id, (line) => lines.push(line), signal), 3)
    t.same(lines.sort(), ['a line on stderr', 'command ünïcode', 'demo 1 starts'])
    await host.remove(failing.id)
    const endless = await make('/server', '0', 'sleeps', '600')
    const stop = new AbortController()
    const onLine = (line: string) => line === 'command sleeps' && stop.abort()
    await t.rejects(host.run(endless.id, onLine, stop.signal), { code: 'CANCELLED' })
    t.match(await host.inspect(endless.id), { running: true }, 'it is left to the caller')
    await host.remove(endless.id)
  })

  await t.test('an error names the port that is taken', async (t) => {
    const first = await host.create({ ...spec, files: [] })
    await host.start(first.id)
    const port = new URL((await host.inspect(name))?.address(8080) ?? '').port
    const ports = [parsePort(`127.0.0.1:${port}:8080`)]
    const second = await host.create({
      ...spec,
      name: `${name}.2`,
      files: [],
      settings: { ...spec.settings, ports },
    })
    await t.rejects(host.start(second.id), {
      code: 'CONFLICT',
      message: `host ${host.name}: starting ${name}.2: port ${port} is taken`,
      hint: /docker ps/,
    })
    await Promise.all([host.remove(first.id), host.remove(second.id)])
  })

  await t.test('a container that ended shows its exit code, or its restarts', async (t) => {
    const env = { EXIT: '3' }
    const once = await host.create({
      ...spec,
      files: [],
      settings: { ...spec.settings, env, restart: 'no' },
    })
    await host.start(once.id)
    const ended = await until(async () => {
      const seen = await host.inspect(once.id)
      return seen && !seen.running ? seen : undefined
    })
    t.equal(ended.exitCode, 3)
    t.equal(ended.address(8080), undefined, 'no address when it does not run')
    await host.remove(once.id)
    const again = await host.create({ ...spec, files: [], settings: { ...spec.settings, env } })
    await host.start(again.id)
    await until(async () => ((await host.inspect(again.id))?.restarts ?? 0) > 0 || undefined)
    await host.remove(again.id)
  })
}

async function tarHeaders(host: Host, id: string, path: string): Promise<Record<string, number[]>> {
  const headers: Record<string, number[]> = {}
  const entries = extract()
  ;(await host.archive(id, path)).pipe(entries as unknown as NodeJS.WritableStream)
  for await (const entry of entries) {
    const { name, mode, uid, gid } = entry.header
    headers[name] = [mode & 0o7777, uid, gid]
    entry.resume()
  }
  return headers
}

export async function until<T>(look: () => Promise<T | undefined>, seconds = 60): Promise<T> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
    const seen = await look()
    if (seen !== undefined) return seen
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`did not happen within ${seconds} s`)
}

export function untilText(url: string): Promise<string> {
  return until(() =>
    fetchText(url).then(
      ({ body }) => body,
      () => undefined,
    ),
  )
}
