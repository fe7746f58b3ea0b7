import { createHash } from 'node:crypto'
import { contentTime } from '../core/content-time.ts'
import type { Digest } from '../core/digest.ts'
import type { BaseFolders } from './base/folders.ts'
import type { MemberSource } from './gzip.ts'
import { tarPath } from './paths.ts'
import type { War, WarDigests, WarEntry } from './war/war.ts'

export type LayerName =
  | 'base'
  | 'built'
  | 'additions'
  | 'dependencies'
  | 'snapshots'
  | 'resources'
  | 'classes'
  | 'webapp'
  | 'templates'
  | 'manifest'
  | 'start'

export const warLayouts = ['exploded', 'packaged'] as const
export type WarLayout = (typeof warLayouts)[number]

/** A file of a layer. `identity` changes whenever its bytes in the layer change. */
export interface LayerFile {
  /** Absolute inside the image, without the leading `/`. */
  path: string
  mode: number
  /** Seconds since 1970. */
  time: number
  source: MemberSource
  identity: string
}

/** The content of a layer that is not written yet. */
export interface LayerPlan {
  name: LayerName
  /** The folder, or the file, that all files are in. */
  root: string
  files: LayerFile[]
  /** The base below it; undefined when that is unknown. */
  base?: BaseFolders
}

/** A written layer: OCI image-spec, layer.md; `diffId` is over the tar, `digest` over the blob. */
export interface Layer {
  name: LayerName
  diffId: Digest
  digest: Digest
  /** bytes of the blob */
  size: number
  files: LayerContent[]
}

export interface LayerContent {
  /** Absolute inside the image, with the leading `/`. */
  path: string
  /** hex */
  md5: string
}

/** A WAR as layers, least changing first; empty ones are left out. */
export function planWar(
  war: War,
  digests: WarDigests,
  options: { layout: WarLayout; webapp: string },
): LayerPlan[] {
  const root = tarPath(options.webapp)
  if (options.layout === 'packaged') return [packaged(war, root, digests)]
  const groups = new Map<LayerName, LayerFile[]>([
    ['dependencies', []],
    ['snapshots', []],
    ['resources', []],
    ['classes', []],
  ])
  for (const entry of war.entries) {
    groups.get(layerOf(entry.name))?.push(warFile(war, entry, digests, root))
  }
  return [...groups]
    .filter(([, files]) => files.length > 0)
    .map(([name, files]) => ({ name, root, files }))
}

/** Which layer a file of the WAR belongs to. */
export function layerOf(name: string): LayerName {
  if (/^WEB-INF\/lib\/[^/]+\.jar$/.test(name)) {
    return /SNAPSHOT/.test(name.slice(name.lastIndexOf('/'))) ? 'snapshots' : 'dependencies'
  }
  return /^WEB-INF\/classes\/.*\.class$/.test(name) ? 'classes' : 'resources'
}

function warFile(war: War, entry: WarEntry, { stored }: WarDigests, root: string): LayerFile {
  const { name, method, size, crc32 } = entry
  return {
    path: `${root}/${name}`,
    mode: 0o644,
    // By the uncompressed content: to browsers, a file packed by another zlib is the same file.
    time: contentTime(`${size} ${crc32}`),
    identity: `${method} ${size} ${crc32} ${stored.get(name)}`,
    source: { ...entry, read: () => war.readStored(entry) },
  }
}

function packaged(war: War, root: string, { sha256, size }: WarDigests): LayerPlan {
  const whole: WarEntry = {
    name: `${root}.war`,
    method: 'stored',
    crc32: 0,
    size,
    storedSize: size,
    offset: 0,
  }
  return {
    name: 'webapp',
    root: `${root}.war`,
    files: [
      {
        path: `${root}.war`,
        mode: 0o644,
        // Tomcat unpacks it again when its time differs from that of the unpacked folder.
        time: contentTime(sha256),
        identity: `file ${size} ${sha256}`,
        source: { ...whole, crc32: undefined, read: () => war.readStored(whole) },
      },
    ],
  }
}

/** Our own texts (templates, manifest, start script) as a layer. */
export function planTexts(
  name: LayerName,
  root: string,
  files: ReadonlyMap<string, { content: Buffer; mode: number }>,
): LayerPlan {
  const sorted = [...files].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return {
    name,
    root,
    files: sorted.map(([relative, { content, mode }]) => {
      const digest = createHash('sha256').update(content).digest('hex')
      return {
        path: `${root}/${relative}`,
        mode,
        time: contentTime(digest),
        identity: `text ${digest}`,
        source: {
          name: relative,
          method: 'stored',
          crc32: undefined,
          size: content.length,
          storedSize: content.length,
          async *read() {
            yield content
          },
        },
      }
    }),
  }
}
