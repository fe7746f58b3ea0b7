import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { digestFile, sha256 } from '../../src/core/digest.ts'
import { StepError } from '../../src/core/errors.ts'
import type { NameCharset } from '../../src/image/war/names.ts'
import { openWar } from '../../src/image/war/war.ts'
import { type RawEntry, rawZip, writeWar } from '../support/data/war.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** The error of opening these bytes as a WAR. */
async function refused(t: Test, bytes: Buffer | readonly RawEntry[]): Promise<StepError> {
  const path = join(await temporaryFolder(t), 'bad.war')
  await writeFile(path, Buffer.isBuffer(bytes) ? bytes : rawZip(bytes as RawEntry[]))
  try {
    await (await openWar(path)).close()
  } catch (error) {
    if (error instanceof StepError) {
      t.ok(error.message.includes(path), 'names the WAR')
      t.ok(error.hint, 'says what to do')
      return error
    }
    throw error
  }
  throw new Error('the WAR was accepted')
}

/** Chunks are good only until the next is asked for. */
async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const copies: Buffer[] = []
  for await (const chunk of chunks) copies.push(Buffer.from(chunk))
  return Buffer.concat(copies)
}

const GOOD: RawEntry = { name: 'WEB-INF/web.xml', content: '<web-app/>' }

await t.test('the files of an archive are read in order, without folders', async (t) => {
  const path = join(await temporaryFolder(t), 'a.war')
  const files = {
    'index.jsp': 'hello',
    'WEB-INF/web.xml': '<web-app/>'.repeat(100),
    'WEB-INF/lib/ü 中文.jar': Buffer.alloc(70_000, 1),
    empty: '',
    'Z.txt': 'upper case sorts first',
    'long.bin': Buffer.alloc(2_500_000, 'longer than a chunk'),
  }
  await writeWar(path, files, { compress: (name) => name.endsWith('.xml') })
  const war = await openWar(path)
  t.teardown(() => war.close())
  const names = [
    'WEB-INF/lib/ü 中文.jar',
    'WEB-INF/web.xml',
    'Z.txt',
    'empty',
    'index.jsp',
    'long.bin',
  ]
  t.strictSame(
    war.entries.map(({ name }) => name),
    names,
  )
  for (const entry of war.entries) {
    const stored = await collect(war.readStored(entry))
    t.equal(stored.length, entry.storedSize)
    const content = Buffer.from(files[entry.name as keyof typeof files])
    const plain = entry.method === 'deflated' ? inflateRawSync(stored) : stored
    t.ok(plain.equals(content), entry.name)
    t.equal(entry.size, content.length)
    t.equal(entry.crc32, crc32(content))
    t.equal(entry.method, entry.name.endsWith('.xml') ? 'deflated' : 'stored')
  }
  const { stored, ...digests } = await war.digest()
  t.strictSame(digests, await digestFile(path))
  for (const entry of war.entries) {
    const expected = sha256(await collect(war.readStored(entry)))
    t.equal(`sha256:${stored.get(entry.name)}`, expected, entry.name)
  }
  await t.rejects(war.digest(AbortSignal.abort()), { code: 'CANCELLED' })
  t.equal(war.newest.toISOString(), '2026-01-02T03:04:06.000Z', 'the same in every time zone')
})

await t.test('archives of common tools are accepted', async (t) => {
  const path = join(await temporaryFolder(t), 'a.war')
  // As Info-ZIP's zip writes it: no mark.
  const unmarked = Buffer.from('docs/Français 文档.txt')
  await writeFile(
    path,
    // Before it a launch script, as executable WARs have it.
    rawZip(
      [
        { name: 'META-INF/', mode: 0o040755 },
        { name: 'META-INF/', mode: 0o040755 },
        { name: 'streamed.txt', content: 'sizes come after the bytes', descriptor: true },
        { name: unmarked, flags: 0, content: 'a name without a mark' },
        { name: 'a..b/..c/d...', content: 'dots are harmless' },
        GOOD,
      ],
      '#!/bin/sh\nexec java -jar "$0"\n',
    ),
  )
  const war = await openWar(path)
  t.teardown(() => war.close())
  t.strictSame(
    war.entries.map(({ name }) => name),
    ['WEB-INF/web.xml', 'a..b/..c/d...', 'docs/Français 文档.txt', 'streamed.txt'],
  )
})

/** Info-ZIP Unicode Path: version, CRC-32 of the other name, the name in UTF-8. */
function unicodePath(raw: Buffer, name: string, crc = crc32(raw)): Buffer {
  const head = Buffer.from([0x75, 0x70, 0, 0, 1, 0, 0, 0, 0])
  const text = Buffer.from(name)
  head.writeUInt16LE(5 + text.length, 2)
  head.writeUInt32LE(crc >>> 0, 5)
  return Buffer.concat([head, text])
}

await t.test(
  'names that are not UTF-8 are read in the character set of war.names, or refused',
  async (t) => {
    const path = join(await temporaryFolder(t), 'a.war')
    const read = async (names: NameCharset | undefined, ...entries: RawEntry[]) => {
      await writeFile(path, rawZip([GOOD, ...entries.map((one) => ({ flags: 0, ...one }))]))
      const war = await openWar(path, names)
      await war.close()
      return war.entries.map(({ name }) => name).filter((name) => name !== GOOD.name)
    }
    const gbk = Buffer.from([0xce, 0xc4, 0xb5, 0xb5, 0x2e, 0x74, 0x78, 0x74])
    const old = Buffer.from([0x81, 0x2e, 0x74, 0x78, 0x74])
    t.strictSame(await read('gbk', { name: gbk }), ['文档.txt'])
    t.strictSame(await read('cp437', { name: old }), ['ü.txt'])
    t.strictSame(await read('windows-1252', { name: Buffer.from([0xe7]) }), ['ç'])
    const marked = { name: '文档.txt', flags: 0x800 }
    t.strictSame(await read('gbk', marked), ['文档.txt'], 'a mark counts more')
    const extra = unicodePath(gbk, 'docs/文档.txt')
    t.strictSame(
      await read(undefined, { name: gbk, extra }),
      ['docs/文档.txt'],
      'the name beside it',
    )
    t.strictSame(await read('gbk', { name: gbk, extra }), ['docs/文档.txt'])
    const stale = unicodePath(gbk, 'docs/文档.txt', 1)
    t.strictSame(await read('gbk', { name: gbk, extra: stale }), ['文档.txt'], 'of an older name')
    const code = 'INPUT_INVALID'
    const shown = /"\\xce\\xc4\\xb5\\xb5\.txt" is no text in utf-8.*war\.names/
    await t.rejects(read(undefined, { name: gbk }), { code, message: shown })
    await t.rejects(read(undefined, { name: gbk, extra: stale }), { code, message: shown })
    await t.rejects(read(undefined, { name: gbk, flags: 0x800 }), { code, message: shown })
    await t.rejects(read('gbk', { name: Buffer.from([0xce]) }), { message: /"\\xce" .* gbk/ })
    const evil = Buffer.concat([Buffer.from('../'), gbk])
    await t.rejects(read('gbk', { name: evil }), { message: /"\.\.\/文档\.txt" leads out/ })
  },
)

await t.test('names that lead out of the archive are refused, each by name', async (t) => {
  const bad: [string, RegExp][] = [
    ['../evil', /".*\/?evil" leads out of the archive/],
    ['a/../../evil', /leads out/],
    ['..', /leads out/],
    ['/etc/passwd', /"\/etc\/passwd" is an absolute path/],
    ['C:/Windows', /is an absolute path/],
    ['a\\..\\b', /has a backslash/],
    ['a//b', /has an empty or "\." part/],
    ['./a', /has an empty or "\." part/],
    ['', /has an empty or "\." part/],
    ['a\nb', /"a\\nb" has a control character/],
    ['a\0b', /has a control character/],
    [`${'x'.repeat(5000)}`, /longer than 4096 bytes/],
    ['WEB-INF/.wh.web.xml', /deletion mark/],
    ['.wh..wh..opq', /deletion mark/],
  ]
  for (const [name, expected] of bad) {
    const error = await refused(t, [GOOD, { name, content: 'x' }])
    t.match(error, { code: 'INPUT_INVALID', exitCode: 2 }, name.slice(0, 20))
    t.match(error.message, expected)
  }
  const all = await refused(
    t,
    bad.map(([name]) => ({ name })),
  )
  for (const [, expected] of bad) t.match(all.message, expected, 'all are told at once')
  const many = await refused(
    t,
    Array.from({ length: 30 }, (_, index) => ({ name: `/${index}` })),
  )
  t.match(many.message, /… and 10 more$/)
})

await t.test('entries that contradict their headers are refused', async (t) => {
  const bad: [RawEntry[], RegExp][] = [
    [[GOOD, GOOD], /"WEB-INF\/web\.xml" is there twice/],
    [[{ name: 'a' }, { name: 'a/b' }], /"a\/b" is a file and a folder at once/],
    [[{ name: 'a/b/c' }, { name: 'a' }], /"a\/b\/c" is a file and a folder/],
    [[{ name: 'a' }, { name: 'a/', mode: 0o040755 }], /"a" is a file and a folder/],
    [[{ name: 'link', content: '/etc/passwd', mode: 0o120777 }], /is a symbolic link/],
    [[{ name: 'secret', flags: 0x801 }], /is encrypted/],
    [[{ name: 'odd', method: 12 }], /uses compression method 12/],
    [[GOOD, { ...GOOD, name: 'again', at: 0 }], /"again" shares bytes with "WEB-INF/],
    [[], /holds no file/],
    [[{ name: 'META-INF/', mode: 0o040755 }], /holds no file/],
    [[{ name: 'a', method: 0, content: 'abc', size: 4 }], /not a readable ZIP/],
    [[{ name: 'bomb', content: 'x', size: 0xfffffff0 }, GOOD, ...bombs(2)], /unpacks to \d+ bytes/],
  ]
  for (const [entries, expected] of bad) {
    const error = await refused(t, entries)
    t.equal(error.code, 'INPUT_INVALID')
    t.match(error.message, expected)
  }
})

function bombs(count: number): RawEntry[] {
  return Array.from({ length: count }, (_, index) => ({ name: `bomb${index}`, size: 0xfffffff0 }))
}

await t.test('a file that is not a whole ZIP is refused', async (t) => {
  const zip = rawZip([GOOD, { name: 'b', content: Buffer.alloc(5000, 'b'), method: 0 }])
  const broken = Buffer.from(zip)
  broken.fill(0xff, zip.length - 60, zip.length - 40)
  for (const [what, bytes] of [
    ['empty', Buffer.alloc(0)],
    ['a text', Buffer.from('<html>Not Found</html>'.repeat(50))],
    ['gzip', Buffer.concat([Buffer.from([0x1f, 0x8b, 8]), Buffer.alloc(500)])],
    ['cut at the end', zip.subarray(0, zip.length - 30)],
    ['cut in the middle', zip.subarray(0, 600)],
    ['the beginning is gone', zip.subarray(1000)],
    ['a broken directory', broken],
    ['something before it', Buffer.concat([Buffer.from('#!/bin/sh\n'.repeat(9)), zip])],
    ['entries point nowhere', rawZip([{ ...GOOD, stored: deflateRawSync('x') }]).fill(9, 0, 4)],
  ] as const) {
    const error = await refused(t, bytes)
    t.equal(error.code, 'INPUT_INVALID', what)
    t.match(error.message, /is not a readable ZIP file: ./, what)
  }
})

await t.test('a missing file, a folder and an unreadable file are named', async (t) => {
  const folder = await temporaryFolder(t)
  const absent = openWar(join(folder, 'no.war'))
  await t.rejects(absent, { code: 'NOT_FOUND', hint: /build-war/ })
  await t.rejects(openWar(folder), { code: 'INPUT_INVALID', message: /is not a file/ })
})
