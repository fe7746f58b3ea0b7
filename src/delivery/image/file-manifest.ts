import { throwIfCancelled } from '../../core/errors.ts'
import { contentMd5 } from '../../image/gzip.ts'
import type { Layer, LayerContent, WarLayout } from '../../image/layers.ts'
import type { War } from '../../image/war/war.ts'
import { MANIFEST_FILE, UNPACKED_FILE } from './remote-image.ts'

interface Place {
  warLayout: WarLayout
  webapp: string
}

/** The lists of files that an image carries, by which each file in a container is compared. */
export async function fileManifests(
  layers: readonly Layer[],
  war: War,
  { warLayout, webapp }: Place,
  signal: AbortSignal,
): Promise<Map<string, Buffer>> {
  const manifests = new Map([[MANIFEST_FILE, manifestOf(layers.flatMap(({ files }) => files))]])
  if (warLayout === 'packaged') {
    manifests.set(UNPACKED_FILE, manifestOf(await listWar(war, webapp, signal)))
  }
  return manifests
}

/** The same for an image of which nothing but the WAR is known. */
export function manifestsOf(
  files: readonly LayerContent[],
  warMd5: string,
  { warLayout, webapp }: Place,
): Map<string, Buffer> {
  const unpacked = manifestOf(files)
  if (warLayout === 'exploded') return new Map([[MANIFEST_FILE, unpacked]])
  const whole = manifestOf([{ path: `${webapp.replace(/\/+$/, '')}.war`, md5: warMd5 }])
  return new Map([
    [MANIFEST_FILE, whole],
    [UNPACKED_FILE, unpacked],
  ])
}

/** What `md5sum -c` reads: a line for every file. */
function manifestOf(files: readonly LayerContent[]): Buffer {
  return Buffer.from(files.map(({ path, md5 }) => `${md5}  ${path}\n`).join(''))
}

/** What a server makes of the .war file, whole as its directory promises. */
export async function listWar(
  war: War,
  webapp: string,
  signal: AbortSignal,
): Promise<LayerContent[]> {
  const files: LayerContent[] = []
  for (const entry of war.entries) {
    throwIfCancelled(signal)
    const md5 = await contentMd5({ ...entry, read: () => war.readStored(entry) })
    files.push({ path: `${webapp.replace(/\/+$/, '')}/${entry.name}`, md5 })
  }
  return files
}
