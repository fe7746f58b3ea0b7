import { Readable } from 'node:stream'
import t from 'tap'
import { pack } from 'tar-stream'
import { pieces, timedLines } from '../../src/targets/docker/operations/output.ts'
import { readTail } from '../../src/targets/file-tail.ts'
import { instanceLabels, placedFilesOf } from '../../src/targets/labels.ts'
import { realPath } from '../../src/targets/real-path.ts'

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const value of values) found.push(value)
  return found
}

function frame(stream: number, text: string): Buffer {
  const head = Buffer.alloc(8)
  head[0] = stream
  head.writeUInt32BE(Buffer.byteLength(text), 4)
  return Buffer.concat([head, Buffer.from(text)])
}

/** As a connection cuts it: anywhere. */
async function* cut(bytes: Buffer, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const [AT, LATER] = ['2026-01-31T12:00:00.000000001Z', '2026-01-31T12:00:00.000000002Z']

t.test('lines are put together from pieces, for each stream, wherever they were cut', async (t) => {
  const bytes = Buffer.concat([
    frame(1, `${AT} a line of 中文, `),
    frame(2, `${AT} an error\n`),
    frame(1, `${LATER} and its end\r\n`),
    frame(1, `${LATER} \n`),
    frame(2, `${LATER} without an end`),
  ])
  for (const size of [1, 3, 7, 1000]) {
    t.strictSame(
      await all(timedLines(pieces(cut(bytes, size), false), false)),
      [
        { at: AT, text: 'an error' },
        { at: AT, text: 'a line of 中文, and its end' },
        { at: LATER, text: '' },
        { at: LATER, text: 'without an end' },
      ],
      `${size} bytes at a time`,
    )
  }
})

t.test('the output of a terminal has no frames, and a line without an end is cut', async (t) => {
  const text = `${AT} one\r\n${LATER} two`
  t.strictSame(await all(timedLines(pieces(cut(Buffer.from(text), 5), true), true)), [
    { at: AT, text: 'one' },
    { at: LATER, text: 'two' },
  ])
  const endless = Buffer.from(`${AT} ${'x'.repeat(3 * 1024 * 1024)}`)
  const parts = await all(timedLines(pieces(cut(endless, 65_536), true), true))
  t.ok(parts.length > 2)
})

const logs =
  (files: Readonly<Record<string, [day: number, text: string]>>) => async (path: string) => {
    const tar = pack()
    tar.entry({ name: 'logs/', type: 'directory' })
    tar.entry({ name: 'logs/localhost.link.log', type: 'symlink', linkname: '/etc/passwd' })
    for (const [name, [day, text]] of Object.entries(files)) {
      if (path !== '/t/logs' && !path.endsWith(`/${name}`)) continue
      const entry = path === '/t/logs' ? `logs/${name}` : name
      tar.entry({ name: entry, mtime: new Date(Date.UTC(2026, 0, day)) }, text)
    }
    tar.finalize()
    return Readable.from(tar)
  }

t.test('the end of a file is read, the newest where several have such a name', async (t) => {
  const read = logs({
    'localhost.2026-01-02.log': [2, 'old\n'],
    'localhost.2026-01-09.log': [9, 'one\ntwo\nthree\n'],
    'localhost.2026-01-03.log': [3, 'older\n'],
    'localhost.secret.log': [30, 'password\n'],
    'catalina.log': [31, 'other\n'],
    'deeper/localhost.x.log': [31, 'other\n'],
  })
  const { signal } = new AbortController()
  const allows = (path: string) => path !== '/t/logs/localhost.secret.log'
  t.strictSame(await readTail(read, '/t/logs/localhost.*.log', { lines: 2, allows, signal }), {
    path: '/t/logs/localhost.2026-01-09.log',
    lines: ['two', 'three'],
  })
  const matches = (line: string) => line.includes('o')
  t.strictSame(
    await readTail(read, '/t/logs/localhost.2026-01-09.log', { lines: 9, matches, signal }),
    {
      path: '/t/logs/localhost.2026-01-09.log',
      lines: ['one', 'two'],
    },
  )
  for (const path of ['/t/logs/none.*.log', '/t/logs/localhost.link.log', '/t/logs/a.c*g']) {
    await t.rejects(readTail(read, path, { lines: 2, signal }), { code: 'NOT_FOUND' }, path)
  }
})

t.test('which files were rendered is known from a label that a deployment wrote', async (t) => {
  const placed = (label?: string) =>
    placedFilesOf({
      host: 'app-01',
      name: 'web',
      labels: label === undefined ? {} : { [instanceLabels.configFiles]: label },
    })
  const hash = 'a'.repeat(64)
  t.strictSame(placed(`{"/etc/app/x":"${hash}"}`), { '/etc/app/x': hash })
  t.strictSame(placed(), {})
  for (const label of ['', 'null', '[]', '{"/x":1}', '{"x":"a"}', `{"/a/../b":"${hash}"}`]) {
    const message = /^web on app-01: its label io\.crosscloud\.config\.files is not/
    t.throws(() => placed(label), { code: 'INPUT_INVALID', message }, label)
  }
})

t.test('a path is known without the links that it leads through', async (t) => {
  const links = new Map([
    ['/conf', '/etc/app'],
    ['/etc/app/old', '/conf/archive'],
    ['/a', '/b'],
    ['/b', '/a'],
  ])
  const real = (path: string) => realPath(async (each) => links.get(each), path)
  t.equal(await real('/conf/app.properties'), '/etc/app/app.properties')
  t.equal(await real('/conf/old/x'), '/etc/app/archive/x')
  t.equal(await real('/etc/app/none/at/all'), '/etc/app/none/at/all')
  await t.rejects(real('/a/x'), { code: 'CONFLICT', message: /more than 40 links/ })
})
