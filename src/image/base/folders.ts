import { posix } from 'node:path'
import { z } from 'zod'

/** Owner, group and mode of a folder. */
const attributes = z.tuple([
  z.number().int().nonnegative(),
  z.number().int().nonnegative(),
  z.number().int().nonnegative().max(0o7777),
])
export type FolderAttributes = z.output<typeof attributes>

/** The attributes of a folder that the base does not have. */
const NEW_FOLDER: FolderAttributes = [0, 0, 0o755]

/** Folders and symbolic links of one layer, by tar path. */
export const layerFoldersSchema = z.strictObject({
  folders: z.record(z.string(), attributes),
  links: z.record(z.string(), z.string()),
  /** For each folder that has files, the name of a file in it. */
  files: z.record(z.string(), z.string()),
  /** Paths of lower layers that this layer deletes (OCI image-spec, layer.md, "Whiteouts"). */
  removed: z.array(z.string()),
  /** Folders whose content from lower layers this layer deletes (opaque whiteouts). */
  emptied: z.array(z.string()),
})
export type LayerFolders = z.output<typeof layerFoldersSchema>

/**
 * What a layer must know of the base below it. A folder entry replaces the base's entry, and a
 * missing entry is made by the engine as root's with mode 0755 (image-spec#1221): so each layer
 * repeats the folders above its files with the base's attributes.
 */
export const baseFoldersSchema = z.strictObject({
  /** Folders whose attributes differ from NEW_FOLDER. */
  folders: z.record(z.string(), attributes),
  /** Symbolic links to folders, with their targets. */
  links: z.record(z.string(), z.string()),
  /** For each folder that has files, the name of a file in it; not part of an image's label. */
  files: z.record(z.string(), z.string()).optional(),
})
export type BaseFolders = z.output<typeof baseFoldersSchema>

/** Merges the layers of a base, lowest first. The order of keys depends on the layers only. */
export function mergeFolders(layers: readonly LayerFolders[]): BaseFolders {
  const folders = new Map<string, FolderAttributes>()
  const links = new Map<string, string>()
  const files = new Map<string, string>()
  const removeBelow = (path: string) => {
    for (const known of [folders, links, files]) {
      for (const name of known.keys()) if (name.startsWith(`${path}/`)) known.delete(name)
    }
    files.delete(path)
  }
  const remove = (path: string) => {
    folders.delete(path)
    links.delete(path)
    removeBelow(path)
    const folder = posix.dirname(path)
    if (files.get(folder) === posix.basename(path)) files.delete(folder)
  }
  for (const layer of layers) {
    layer.removed.forEach(remove)
    layer.emptied.forEach(removeBelow)
    for (const [path, target] of Object.entries(layer.links)) {
      if (folders.has(path)) remove(path)
      links.set(path, target)
    }
    for (const [path, found] of Object.entries(layer.folders)) {
      links.delete(path)
      folders.set(path, found)
    }
    for (const [path, name] of Object.entries(layer.files)) files.set(path, name)
  }
  const leading = [...links.keys()].flatMap((path) => {
    const folder = follow(path, links)
    return folder !== undefined && folders.has(folder) ? [[path, folder] as const] : []
  })
  const special = [...folders].filter(([, found]) => found.join() !== NEW_FOLDER.join())
  return { folders: sorted(special), links: sorted(leading), files: sorted([...files]) }
}

/** The path after all links are followed; undefined for a loop of links. */
function follow(path: string, links: ReadonlyMap<string, string>): string | undefined {
  const waiting = path.split('/')
  let at = ''
  for (let steps = 0; waiting.length > 0; steps++) {
    const next = posix.join('/', at, waiting.shift() ?? '').slice(1)
    const target = links.get(next)
    if (target === undefined) at = next
    else {
      waiting.unshift(...target.split('/').filter((part) => part !== ''))
      if (target.startsWith('/')) at = ''
    }
    if (steps > 1000) return undefined
  }
  return at
}

function sorted<T>(entries: readonly (readonly [string, T])[]): Record<string, T> {
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** The owner and mode of a folder on this base. */
export function folderOf(path: string, base: BaseFolders | undefined): FolderAttributes {
  return (base && Object.hasOwn(base.folders, path) && base.folders[path]) || NEW_FOLDER
}

/** A file that the base has in this folder or below it; undefined when none is known. */
export function fileBelow(path: string, { files = {} }: BaseFolders): string | undefined {
  const folder = Object.keys(files).find((name) => name === path || name.startsWith(`${path}/`))
  return folder === undefined ? undefined : `${folder}/${files[folder]}`
}
