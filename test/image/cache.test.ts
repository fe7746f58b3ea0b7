import { cp, mkdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { run } from '../../src/core/process/process.ts'
import { buildLayer } from '../../src/image/build.ts'
import { cachedBlob, layerKey } from '../../src/image/cache.ts'
import { type LayerPlan, planTexts } from '../../src/image/layers.ts'
import { type Baked, bake, SEAL_KEY, writeSample } from '../support/data/layers.ts'
import { temporaryFolder } from '../support/temporary.ts'

await t.test('a writer of the layer cache cannot put anything into an image', async (t) => {
  const folder = await temporaryFolder(t)
  const [good, evil] = [join(folder, 'good.war'), join(folder, 'evil.war')]
  await writeSample(good)
  await writeSample(evil, { 'WEB-INF/classes/com/example/A.class': 'class Evil' })
  const [cache, theirs] = [join(folder, 'cache'), join(folder, 'theirs')]
  const honest = await bake(good, join(folder, 'elsewhere'))
  /** As an archive would bring it: the blobs, and the record of one layer under another's key. */
  const plant = async ({ plans, layers }: Baked, from: string) => {
    await cp(from, cache, { recursive: true, preserveTimestamps: true })
    for (const [index, plan] of plans.entries()) {
      const record = (plan?: LayerPlan) =>
        join(cache, 'layers', `${layerKey(plan as LayerPlan)}.json`)
      const blob = cachedBlob({ folder: cache }, layers[index]?.digest ?? sha256(''))
      await rename(record(plan), record(honest.plans[index]))
      await utimes(blob, new Date(), new Date(1000))
    }
  }
  const cases: [string, Buffer][] = [
    ['sealed with a key of their own', Buffer.alloc(32, 'theirs')],
    ['sealed by this user for another WAR', SEAL_KEY],
  ]
  for (const [what, sealKey] of cases) {
    await plant(await bake(evil, theirs, { sealKey }), theirs)
    t.strictSame((await bake(good, cache)).layers, honest.layers, what)
    await Promise.all([cache, theirs].map((path) => rm(path, { recursive: true })))
  }

  const { layers } = await bake(evil, theirs)
  await mkdir(join(cache, 'layers'), { recursive: true })
  await cp(join(theirs, 'blobs'), join(cache, 'blobs'), { recursive: true })
  for (const [index, plan] of honest.plans.entries()) {
    const path = join(cache, 'layers', `${layerKey(plan)}.json`)
    await writeFile(path, JSON.stringify(layers[index]))
  }
  t.strictSame((await bake(good, cache)).layers, honest.layers, 'without a seal')

  const record = join(cache, 'layers', `${layerKey(honest.plans[0] as LayerPlan)}.json`)
  await rm(record)
  await run('mkfifo', [record])
  t.strictSame((await bake(good, cache)).layers, honest.layers, 'a pipe does not block')
})

await t.test('without a key for seals, every layer is built again', async (t) => {
  const folder = await temporaryFolder(t)
  const text = new Map([['b', { content: Buffer.from('b'), mode: 0o644 }]])
  const plan = planTexts('templates', 'a', text)
  const kept = await buildLayer(plan, { folder, sealKey: SEAL_KEY })
  const record = join(folder, 'layers', `${layerKey(plan)}.json`)
  const { ino } = await stat(cachedBlob({ folder }, kept.digest))
  t.strictSame(await buildLayer(plan, { folder }), kept)
  t.not((await stat(cachedBlob({ folder }, kept.digest))).ino, ino)
  await rm(record)
  await buildLayer(plan, { folder })
  await t.rejects(stat(record), { code: 'ENOENT' })
})
