import { throwIfCancelled } from '../../core/errors.ts'
import { contentMd5 } from '../../image/gzip.ts'
import type { Layer, WarLayout } from '../../image/layers.ts'
import type { War } from '../../image/war/war.ts'
import { MANIFEST_FILE, UNPACKED_FILE } from './remote-image.ts'

/** The lists of files that an image carries, by which each file in a container is compared. */
export async function fileManifests(
  layers: readonly Layer[],
  war: War,
  { warLayout, webapp }: { warLayout: WarLayout; webapp: string },
  signal: AbortSignal,
): Promise<Map<string, Buffer>> {
  const manifests = new Map([[MANIFEST_FILE, fileManifest(layers)]])
  if (warLayout === 'packaged') {
    manifests.set(UNPACKED_FILE, await unpackedManifest(war, webapp, signal))
  }
  return manifests
}

/** What `md5sum -c` reads: a line for every file of the WAR and of the additions. */
function fileManifest(layers: readonly Layer[]): Buffer {
  const lines = layers.flatMap(({ files }) => files.map((file) => `${file.md5}  ${file.path}\n`))
  return Buffer.from(lines.join(''))
}

/** The same for what a server makes of the .war file, whole as its directory promises. */
async function unpackedManifest(war: War, webapp: string, signal: AbortSignal): Promise<Buffer> {
  const lines: string[] = []
  for (const entry of war.entries) {
    throwIfCancelled(signal)
    const md5 = await contentMd5({ ...entry, read: () => war.readStored(entry) })
    lines.push(`${md5}  ${webapp.replace(/\/+$/, '')}/${entry.name}\n`)
  }
  return Buffer.from(lines.join(''))
}
