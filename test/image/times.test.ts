import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { planAdditions } from '../../src/image/additions.ts'
import { cachedBlob, layerKey } from '../../src/image/cache.ts'
import type { LayerPlan } from '../../src/image/layers.ts'
import { setServedTime } from '../../src/image/war/times.ts'
import {
  type Baked,
  bake,
  contents,
  ROOT,
  sample,
  WEBAPP,
  writeSample,
} from '../support/data/layers.ts'
import { writeWar } from '../support/data/war.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** The times of all files, as they are in the layers, by their path below the root. */
async function timesIn(cache: string, layers: Baked['layers']): Promise<Map<string, number>> {
  const times = new Map<string, number>()
  for (const { digest } of layers) {
    for (const { name, type, time } of await contents(cachedBlob({ folder: cache }, digest))) {
      if (type === 'file') times.set(name.replace(`${ROOT}/`, ''), time)
    }
  }
  return times
}

await t.test(
  'a file that changes and keeps its length has another time, and no other',
  async (t) => {
    const folder = await temporaryFolder(t)
    const [path, cache] = [join(folder, 'a.war'), join(folder, 'cache')]
    const page = sample['index.jsp'] as string
    const write = async (content: string, date: string) => {
      await writeSample(path, { 'index.jsp': content }, new Date(date))
      const { layers } = await bake(path, cache)
      return { layers, times: await timesIn(cache, layers) }
    }
    const first = await write(page, '2026-01-02T03:04:06Z')
    const second = await write(page.replace('hello', 'HELLO'), '2026-01-03T03:04:06Z')
    t.equal(first.times.size, Object.keys(sample).length)
    const changed = [...first.times].filter(([name, time]) => second.times.get(name) !== time)
    t.strictSame(
      changed.map(([name]) => name),
      ['index.jsp'],
    )
    t.strictSame((await write(page, '2026-01-04T03:04:06Z')).layers, first.layers, 'and back')
    for (const [name, time] of first.times) t.ok(time * 1000 < Date.UTC(2025, 6, 15), name)
    t.ok(new Set(first.times.values()).size > 15, 'few files share a time')
  },
)

await t.test('the time does not depend on how the WAR was compressed', async (t) => {
  const folder = await temporaryFolder(t)
  const cache = join(folder, 'cache')
  const times = []
  for (const compress of [true, false]) {
    const path = join(folder, `${compress}.war`)
    await writeWar(path, { 'page.html': 'a'.repeat(5000) }, { compress })
    times.push(await timesIn(cache, (await bake(path, cache)).layers))
  }
  t.strictSame(times[0], times[1])
})

await t.test('served files can have one common time, and no other file has it', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.war')
  await writeSample(path)
  await writeFile(join(folder, 'page.html'), 'a page')
  const { plans } = await bake(path, join(folder, 'cache'))
  const added = [`${WEBAPP}/added.html`, '/opt/page.html'].map((to) => ({
    from: join(folder, 'page.html'),
    to,
  }))
  const all = [...(await planAdditions(added)), ...plans]
  const timed = setServedTime(all, `${WEBAPP}/`, 1_700_000_000)
  const served = timed.flatMap(({ files }) => files).filter(({ time }) => time === 1_700_000_000)
  const names = served.map((file) => file.path.replace(`${ROOT}/`, '')).sort()
  const resources = all.find(({ name }) => name === 'resources')?.files ?? []
  t.strictSame(
    names,
    ['added.html', ...resources.map((file) => file.path.slice(ROOT.length + 1))].sort(),
  )
  t.notOk(names.some((name) => /^WEB-INF.*\.(jar|class)$/.test(name)))
  const keys = (from: LayerPlan[]) => from.map(layerKey)
  t.equal(new Set([...keys(all), ...keys(timed)]).size, all.length + 2, 'two layers are others')
})

await t.test('another WAR of the same length has another time when it stays packed', async (t) => {
  const folder = await temporaryFolder(t)
  const times = []
  for (const text of ['one', 'two']) {
    const path = join(folder, `${text}.war`)
    await writeWar(path, { 'index.html': text })
    times.push((await bake(path, folder, { layout: 'packaged' })).plans[0]?.files[0]?.time)
  }
  t.not(times[0], times[1])
})
