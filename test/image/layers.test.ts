import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { deflateRawSync, gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { run } from '../../src/core/process/process.ts'
import { buildLayer } from '../../src/image/build.ts'
import { cachedBlob } from '../../src/image/cache.ts'
import { planTexts } from '../../src/image/layers.ts'
import {
  type Baked,
  bake,
  contents,
  noise,
  ROOT,
  sameBytes,
  sample,
  writeSample,
} from '../support/data/layers.ts'
import { type RawEntry, rawZip } from '../support/data/war.ts'
import { temporaryFolder } from '../support/temporary.ts'

await t.test('GNU tar, gzip and tar-stream read back exactly the WAR', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.war')
  await writeSample(path)
  const { layers } = await bake(path, join(folder, 'cache'))
  t.strictSame(
    layers.map(({ name }) => name),
    ['dependencies', 'snapshots', 'resources', 'classes'],
  )
  const out = join(folder, 'out')
  await mkdir(out)
  const listed: string[] = []
  for (const { name, digest, diffId, size, files } of layers) {
    const blob = cachedBlob({ folder: join(folder, 'cache') }, digest)
    const bytes = await readFile(blob)
    t.equal(sha256(bytes), digest, `${name}: digest`)
    t.equal(bytes.length, size)
    t.equal(sha256(gunzipSync(bytes)), diffId, `${name}: diffId`)
    await run('gzip', ['--test'], { input: createReadStream(blob) })
    const { stdout } = await run('tar', ['tzvf', blob, '--numeric-owner', '--full-time'], {
      env: { LC_ALL: 'C.UTF-8', TZ: 'UTC' },
    })
    listed.push(...stdout.split('\n'))
    await run('tar', ['xzf', blob, '-C', out])
    const entries = await contents(blob)
    const read = entries.filter(({ type }) => type === 'file')
    t.strictSame(
      read.map((entry) => `/${entry.name}`),
      files.map((file) => file.path),
    )
    t.strictSame(
      read.map((entry) => createHash('md5').update(entry.bytes).digest('hex')),
      files.map((file) => file.md5),
      `${name}: MD5 of every file`,
    )
    const paths = entries.map((entry) => entry.name)
    t.equal(new Set(paths).size, paths.length, 'nothing is written twice')
    for (const entry of entries) {
      t.equal(entry.owner, '0:0 :', entry.name)
      t.equal(entry.mode, entry.type === 'directory' ? 0o755 : 0o644)
      t.ok(entry.name === `${ROOT}/` || entry.name.startsWith(`${ROOT}/`), 'nothing above the root')
    }
    t.equal(entries[0]?.name, `${ROOT}/`, 'the root first')
  }
  for (const line of listed)
    t.match(
      line,
      /^(drwxr-xr-x 0\/0 +0 1970-01-01 00:00:01|-rw-r--r-- 0\/0 +\d+ 2025-0[1-7]-\d\d ..:..:..) /,
    )
  await sameBytes(t, join(out, ROOT), sample)
})

await t.test('files go to the layer that changes as often as they do', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.war')
  await writeSample(path)
  const { plans } = await bake(path, join(folder, 'cache'))
  const names = (layer: string) =>
    plans
      .find((plan) => plan.name === layer)
      ?.files.map((file) => file.path.slice(ROOT.length + 1)) ?? []
  t.strictSame(names('snapshots'), ['WEB-INF/lib/own-2.0-SNAPSHOT.jar'])
  t.strictSame(names('classes'), [
    'WEB-INF/classes/com/example/A.class',
    'WEB-INF/classes/com/example/B.class',
  ])
  t.equal(names('dependencies').length, 3)
  t.ok(names('resources').includes('META-INF/MANIFEST.MF'), 'META-INF survives')
  t.ok(names('resources').includes('applet/Odd.class'), 'so do classes elsewhere')
})

await t.test('a packaged WAR is in the layer byte for byte', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.war')
  await writeSample(path)
  const cache = join(folder, 'cache')
  const { layers } = await bake(path, cache, { layout: 'packaged' })
  t.equal(layers.length, 1)
  const blob = cachedBlob({ folder: cache }, layers[0]?.digest ?? sha256(''))
  const entries = await contents(blob)
  t.strictSame(
    entries.map(({ name, type, mode }) => [name, type, mode]),
    [[`${ROOT}.war`, 'file', 0o644]],
  )
  const war = await readFile(path)
  t.ok(entries[0]?.bytes.equals(war))
  await run('tar', ['xzf', blob, '-C', folder])
  t.ok((await readFile(join(folder, `${ROOT}.war`))).equals(war))
  t.equal(layers[0]?.files[0]?.md5, createHash('md5').update(war).digest('hex'))
  t.ok((layers[0]?.size ?? 0) < war.length * 1.001 + 2000, 'nothing is compressed twice')
})

const digestsOf = ({ layers }: Baked) =>
  Object.fromEntries(layers.map(({ name, digest }) => [name, digest]))

await t.test('equal content gives equal digests; a changed class changes its layer', async (t) => {
  const folder = await temporaryFolder(t)
  const other = await temporaryFolder(t)
  const [first, second, third] = ['a.war', 'b.war', 'c.war'] as const
  await writeSample(join(folder, first), {}, new Date('2026-01-02T03:04:06Z'))
  await writeSample(join(other, second), {}, new Date('2031-07-08T09:10:12Z'))
  await utimes(join(other, second), new Date(0), new Date(0))
  await writeSample(join(other, third), { 'WEB-INF/classes/com/example/A.class': 'class A, new' })
  const original = digestsOf(await bake(join(folder, first), join(folder, 'cache')))
  const two = digestsOf(await bake(join(other, second), join(other, 'cache')))
  t.strictSame(original, two)
  const three = digestsOf(await bake(join(other, third), join(other, 'cache')))
  t.strictSame({ ...three, classes: '' }, { ...original, classes: '' })
  t.not(three.classes, original.classes)
  const elsewhere = await bake(join(folder, first), join(folder, 'cache'), { webapp: '/srv/app/' })
  t.not(digestsOf(elsewhere).classes, original.classes, 'the place belongs to the content')
  t.equal(elsewhere.plans[0]?.root, 'srv/app')
})

await t.test('damage inside an entry of any kind is found', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'bad.war')
  const big = noise(300_000, 'big')
  const flipped = Buffer.from(big)
  flipped[200_000] = (flipped[200_000] ?? 0) ^ 1
  const bad: Record<string, RawEntry> = {
    'small stored, wrong CRC': { name: 'f', content: 'abc', method: 0, crc32: 1 },
    'large stored, wrong CRC': { name: 'f', content: big, method: 0, stored: flipped },
    'deflated, wrong CRC': { name: 'f', content: 'abc'.repeat(99), crc32: 1 },
    'deflated, other content': { name: 'f', content: big, stored: deflateRawSync(flipped) },
    'deflated, too short': { name: 'f', content: 'abc', size: 2 },
    'deflated, too long': { name: 'f', content: 'abc', size: 4 },
    'cut deflate stream': {
      name: 'f',
      content: big,
      stored: deflateRawSync(big).subarray(0, 9999),
    },
    'no deflate stream': { name: 'f', content: big, stored: Buffer.alloc(5000, 0xff) },
    'bytes after the end': {
      name: 'f',
      content: 'abc',
      stored: Buffer.concat([deflateRawSync('abc'), Buffer.from('more')]),
    },
    'much after the end': {
      name: 'f',
      content: 'abc',
      stored: Buffer.concat([deflateRawSync('abc'), noise(3 << 20, 'more')]),
    },
  }
  for (const [what, entry] of Object.entries(bad)) {
    await writeFile(path, rawZip([{ name: 'a.txt', content: 'good' }, entry]))
    const error = await bake(path, join(folder, 'cache')).catch((caught) => caught)
    t.match(error, { code: 'INPUT_INVALID', message: /damaged: f / }, what)
    t.strictSame(await readdir(join(folder, 'cache', 'blobs')), [], what)
  }
})

await t.test('our own texts are sorted and keep their modes', async (t) => {
  const folder = await temporaryFolder(t)
  const files = new Map([
    ['templates/b.hbs', { content: Buffer.from('b'), mode: 0o644 }],
    ['start.sh', { content: Buffer.from('#!/bin/sh\n'), mode: 0o755 }],
  ])
  const layer = await buildLayer(planTexts('templates', '.crosscloud', files), { folder })
  const entries = await contents(cachedBlob({ folder }, layer.digest))
  t.strictSame(
    entries.map(({ name, mode, bytes }) => [name, mode, String(bytes)]),
    [
      ['.crosscloud/', 0o755, ''],
      ['.crosscloud/start.sh', 0o755, '#!/bin/sh\n'],
      ['.crosscloud/templates/', 0o755, ''],
      ['.crosscloud/templates/b.hbs', 0o644, 'b'],
    ],
  )
  const reversed = new Map([...files].reverse())
  const again = await buildLayer(planTexts('templates', '.crosscloud', reversed), {
    folder: join(folder, 'other'),
  })
  t.equal(again.digest, layer.digest)
})

await t.test('any set of files is read back unchanged', async (t) => {
  const folder = await temporaryFolder(t)
  const part = fc
    .string({ minLength: 1, maxLength: 30, unit: 'grapheme' })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
    .filter((text) => !/[/\\\x00-\x1f\x7f]|^\.{1,2}$|^\.wh\.|^[A-Za-z]:/.test(text))
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
    fc.integer({ min: 0, max: 600_000 }).map((size) => Buffer.alloc(size, 'the same again ')),
    fc.integer({ min: 65_000, max: 70_000 }).map((size) => noise(size, 'n')),
  )
  const file = fc.record({
    // A folder's name never is a file's name: files end in ".f", folders in ".d".
    folders: fc.array(
      part.map((text) => `${text}.d`),
      { maxLength: 8 },
    ),
    name: part.map((text) => `${text}.f`),
    content,
    method: fc.constantFrom(0, 8),
    descriptor: fc.boolean(),
  })
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 12 }), async (files) => {
      const entries = new Map<string, RawEntry & { content: Buffer }>()
      for (const { folders, name, ...rest } of files) {
        const path = [...folders, name].join('/')
        // Only a deflate stream tells its own end.
        entries.set(path, { name: path, ...rest, descriptor: rest.descriptor && rest.method === 8 })
      }
      const path = join(folder, `${++run}.war`)
      await writeFile(path, rawZip([...entries.values()]))
      const cache = join(folder, `cache${run}`)
      const { layers } = await bake(path, cache, { webapp: '/app' })
      const found = new Map<string, Buffer>()
      for (const { digest, diffId } of layers) {
        const blob = cachedBlob({ folder: cache }, digest)
        if (sha256(gunzipSync(await readFile(blob))) !== diffId) throw new Error('diffId')
        for (const { name, type, bytes } of await contents(blob)) {
          if (type === 'file') found.set(name.slice('app/'.length), bytes)
        }
      }
      if (found.size !== entries.size) throw new Error(`${found.size} of ${entries.size} files`)
      for (const [name, { content: expected }] of entries) {
        if (!found.get(name)?.equals(expected)) throw new Error(`${basename(name)} differs`)
      }
    }),
    { numRuns: 40 },
  )
  t.equal(run >= 40, true)
})
