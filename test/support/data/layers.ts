import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { createGunzip } from 'node:zlib'
import type { Test } from 'tap'
import { extract } from 'tar-stream'
import { buildLayer } from '../../../src/image/build.ts'
import { type Layer, type LayerPlan, planWar, type WarLayout } from '../../../src/image/layers.ts'
import { openWar } from '../../../src/image/war/war.ts'
import { writeWar } from './war.ts'

export const WEBAPP = '/usr/local/tomcat/webapps/ROOT'
export const ROOT = WEBAPP.slice(1)

/** What the user of these tests seals cached layers with. */
export const SEAL_KEY = Buffer.alloc(32, 'a key of the tests')

export interface Baked {
  plans: LayerPlan[]
  layers: Layer[]
}

export async function bake(
  path: string,
  cache: string,
  options: { layout?: WarLayout; webapp?: string; signal?: AbortSignal; sealKey?: Buffer } = {},
): Promise<Baked> {
  const { layout = 'exploded', webapp = WEBAPP, signal, sealKey = SEAL_KEY } = options
  const war = await openWar(path)
  try {
    const plans = planWar(war, await war.digest(signal), { layout, webapp })
    const layers: Layer[] = []
    for (const plan of plans)
      layers.push(await buildLayer(plan, { folder: cache, sealKey }, signal))
    return { plans, layers }
  } finally {
    await war.close()
  }
}

/** Deterministic bytes that hardly compress. */
export function noise(size: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(size / 32) }, (_, index) =>
    createHash('sha256').update(`${seed}${index}`).digest(),
  )
  return Buffer.concat(blocks).subarray(0, size)
}

export const LONG = `${'a-folder-with-a-long-name/'.repeat(4)}${'n'.repeat(60)}.txt`
export const LONGER = `${'ein-sehr-länger-Name/'.repeat(14)}ü.txt`
/** The large ones are read in two chunks, of at most 1 MiB. */
export const sample: Record<string, string | Buffer> = {
  'WEB-INF/lib/spring-core-6.1.jar': noise(1_200_000, 'spring'),
  'WEB-INF/lib/a-1.0.jar': noise(1000, 'a'),
  'WEB-INF/lib/own-2.0-SNAPSHOT.jar': noise(70_000, 'own'),
  'WEB-INF/lib/stored-1.0.jar': noise(1_100_000, 'stored'),
  'WEB-INF/classes/com/example/A.class': 'class A'.repeat(500),
  'WEB-INF/classes/com/example/B.class': noise(65_536, 'B'),
  'WEB-INF/classes/messages_zh.properties': 'greeting=你好',
  'WEB-INF/web.xml': '<web-app/>',
  'META-INF/MANIFEST.MF': 'Manifest-Version: 1.0\n',
  'applet/Odd.class': 'a class outside WEB-INF/classes',
  'index.jsp': '<%= "hello" %>',
  'static/zeros.bin': Buffer.alloc(400_000),
  'static/empty-stored.txt': '',
  'static/empty-deflated.txt': '',
  'static/64k-stored.txt': noise(65_536, 's'),
  'static/64k+1-stored.txt': noise(65_537, 's'),
  'static/中文 und Ümläut.txt': 'names need no ASCII',
  'static/100': 'x',
  [LONG]: 'over 100 bytes',
  [LONGER]: 'over 255 bytes',
  [`static/${'n'.repeat(100 - ROOT.length - 1 - 7)}`]: 'exactly 100 bytes in the tar',
  [`static/${'n'.repeat(101 - ROOT.length - 1 - 7)}`]: 'exactly 101 bytes in the tar',
}
export const isStored = (name: string) => /stored/.test(name)
export const writeSample = (
  path: string,
  changes: Record<string, string | Buffer> = {},
  date?: Date,
) =>
  writeWar(
    path,
    { ...sample, ...changes },
    { compress: (name) => !isStored(name), ...(date && { date }) },
  )

interface LayerEntry {
  name: string
  type: string
  mode: number
  owner: string
  /** Seconds since 1970. */
  time: number
  bytes: Buffer
}

/** What is in a layer's blob, as tar-stream reads it. */
export async function contents(path: string) {
  const unpack = extract()
  const entries: LayerEntry[] = []
  const done = (async () => {
    for await (const entry of unpack) {
      const { name, type, mode = 0, uid, gid, uname, gname, mtime } = entry.header
      const owner = `${uid}:${gid} ${uname}:${gname}`
      const time = (mtime?.getTime() ?? Number.NaN) / 1000
      entries.push({ name, type: `${type}`, mode, owner, time, bytes: await buffer(entry) })
    }
  })()
  createReadStream(path).pipe(createGunzip()).pipe(unpack)
  await done
  return entries
}

export async function sameBytes(t: Test, folder: string, files: Record<string, string | Buffer>) {
  const found = await readdir(folder, { recursive: true, withFileTypes: true })
  const names = found
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  t.strictSame(names.sort(), Object.keys(files).sort())
  for (const [name, content] of Object.entries(files)) {
    const bytes = await readFile(join(folder, name))
    t.ok(bytes.equals(Buffer.from(content)), `${name}: every byte`)
  }
}
