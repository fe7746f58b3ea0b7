import { readdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { StepError } from '../../src/core/errors.ts'
import { buildLayer } from '../../src/image/build.ts'
import { cachedBlob, layerKey } from '../../src/image/cache.ts'
import { type LayerFile, type LayerPlan, planTexts } from '../../src/image/layers.ts'
import type { Baked } from '../support/data/layers.ts'
import { bake, SEAL_KEY, writeSample } from '../support/data/layers.ts'
import { temporaryFolder } from '../support/temporary.ts'

const digestsOf = ({ layers }: Baked) =>
  Object.fromEntries(layers.map(({ name, digest }) => [name, digest]))

await t.test('a layer is written once, and again when it is damaged', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.war')
  const cache = join(folder, 'cache')
  await writeSample(path)
  const first = await bake(path, cache)
  const blob = cachedBlob({ folder: cache }, first.layers[0]?.digest ?? sha256(''))
  const before = await stat(blob)
  const again = await bake(path, cache)
  t.strictSame(again.layers, first.layers)
  t.equal((await stat(blob)).ino, before.ino, 'the same file, not a new file')

  const whole = await readFile(blob)
  await truncate(blob, 1000)
  t.strictSame((await bake(path, cache)).layers, first.layers)
  t.ok((await readFile(blob)).equals(whole), 'a cut blob is made anew')

  // A layout shares the file: the same size and date, another content.
  const { atime, mtime } = await stat(blob)
  await writeFile(blob, Buffer.from(whole).fill(0, 500, 600))
  await utimes(blob, atime, mtime)
  t.strictSame((await bake(path, cache)).layers, first.layers)
  t.ok((await readFile(blob)).equals(whole), 'a changed blob is made anew')
  const { ino } = await stat(blob)
  await utimes(blob, new Date(), new Date())
  t.strictSame((await bake(path, cache)).layers, first.layers)
  t.equal((await stat(blob)).ino, ino, 'a new date alone changes nothing')

  const record = join(cache, 'layers', `${layerKey(first.plans[0] as LayerPlan)}.json`)
  for (const text of ['', '{"digest":', '{}', 'null', '[]', '{"digest":"../../x","size":4}']) {
    await writeFile(record, text)
    t.strictSame((await bake(path, cache)).layers, first.layers, `record "${text}"`)
  }
})

await t.test('layers that were not used for a month are removed', async (t) => {
  const folder = await temporaryFolder(t)
  const cache = { folder, sealKey: SEAL_KEY }
  const text = (content: string) =>
    planTexts('templates', 'a', new Map([['b', { content: Buffer.from(content), mode: 0o644 }]]))
  const [old, used] = [await buildLayer(text('old'), cache), await buildLayer(text('used'), cache)]
  const longAgo = new Date(Date.now() - 31 * 24 * 3_600_000)
  for (const place of ['blobs', 'layers']) {
    for (const name of await readdir(join(folder, place))) {
      const path = join(folder, place, name)
      await utimes(path, longAgo, (await stat(path)).mtime)
    }
  }
  await writeFile(join(folder, 'blobs', '.staged-by-a-killed-run'), '')
  await utimes(join(folder, 'blobs', '.staged-by-a-killed-run'), longAgo, longAgo)
  t.strictSame(await buildLayer(text('used'), cache), used)
  const fresh = await buildLayer(text('fresh'), cache)
  const blobs = [used, fresh].map(({ digest }) => digest.slice('sha256:'.length))
  t.strictSame((await readdir(join(folder, 'blobs'))).sort(), blobs.sort())
  t.equal((await readdir(join(folder, 'layers'))).length, 2)
  t.strictSame(await buildLayer(text('old'), cache), old, 'and comes back the same')
})

await t.test('two builds at once do not disturb each other', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.war')
  const cache = join(folder, 'cache')
  await writeSample(path)
  const all = await Promise.all([bake(path, cache), bake(path, cache), bake(path, cache)])
  t.strictSame(digestsOf(all[0]), digestsOf(all[1]))
  t.strictSame(digestsOf(all[0]), digestsOf(all[2]))
  t.notOk((await readdir(join(cache, 'blobs'))).some((name) => name.startsWith('.')))
})

/** A file of a plan whose bytes come as `read` says. */
function slowFile(read: () => AsyncGenerator<Buffer>, size: number): LayerFile {
  const source = {
    name: 'slow',
    method: 'stored' as const,
    crc32: undefined,
    size,
    storedSize: size,
    read,
  }
  return { path: 'app/slow', mode: 0o644, time: 1, identity: 'slow', source }
}

await t.test('a build that is cancelled or fails leaves nothing', async (t) => {
  const cache = join(await temporaryFolder(t), 'cache')
  const stop = new AbortController()
  const failures: [string, () => void][] = [
    ['stopped by SIGINT', () => stop.abort(new StepError('CANCELLED', 'stopped by SIGINT'))],
    [
      'disk',
      () => {
        throw Object.assign(new Error('disk'), { code: 'EIO' })
      },
    ],
  ]
  for (const [message, fail] of failures) {
    async function* read() {
      yield Buffer.alloc(200_000)
      const staged = (await readdir(join(cache, 'blobs'))).filter((name) => name.startsWith('.'))
      t.equal(staged.length, 1, 'it was being written')
      fail()
      yield Buffer.alloc(200_000)
    }
    const plan: LayerPlan = {
      name: 'resources',
      root: 'app',
      files: [slowFile(read, 400_000)],
    }
    const signal = message === 'disk' ? new AbortController().signal : stop.signal
    await t.rejects(buildLayer(plan, { folder: cache }, signal), { message: new RegExp(message) })
    t.strictSame(await readdir(join(cache, 'blobs')), [])
    await t.rejects(readdir(join(cache, 'layers')), { code: 'ENOENT' })
  }
})
