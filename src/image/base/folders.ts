import { posix } from 'node:path'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import type { LayerPlan } from '../layers.ts'

/** Owner, group and mode of a folder. */
const attributes = z.tuple([
  z.number().int().nonnegative(),
  z.number().int().nonnegative(),
  z.number().int().nonnegative().max(0o7777),
])
export type FolderAttributes = z.output<typeof attributes>

/** Of a folder that the base does not have. */
const NEW_FOLDER: FolderAttributes = [0, 0, 0o755]

/** Folders and symbolic links of one layer, by their path without `/` at its ends. */
export const layerFoldersSchema = z.strictObject({
  folders: z.record(z.string(), attributes),
  links: z.record(z.string(), z.string()),
  /** Of each folder with files of its own, the name of one. */
  files: z.record(z.string(), z.string()),
  /** Paths of the layers below that this one takes away (OCI image-spec, layer.md, "Whiteouts"). */
  removed: z.array(z.string()),
  /** Folders whose content of the layers below is taken away. */
  emptied: z.array(z.string()),
})
export type LayerFolders = z.output<typeof layerFoldersSchema>

/**
 * What a layer on a base must know of it. An entry of a folder replaces the base's, and a missing
 * one is made by the engine as root's with mode 0755 (image-spec#1221): so each layer repeats the
 * folders above its files as the base has them.
 */
export const baseFoldersSchema = z.strictObject({
  /** Those unlike NEW_FOLDER. */
  folders: z.record(z.string(), attributes),
  /** Symbolic links to folders, and which folder that is. */
  links: z.record(z.string(), z.string()),
  /** Of each folder with files of its own, the name of one; images do not keep it. */
  files: z.record(z.string(), z.string()).optional(),
})
export type BaseFolders = z.output<typeof baseFoldersSchema>

/** The layers of a base, lowest first, as one; the same for the same layers, to the order of keys. */
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

/** Where a path leads, from the root of the image; undefined when it goes round in a circle. */
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

/** Owner and mode that a folder has on this base. */
export function folderOf(path: string, base: BaseFolders | undefined): FolderAttributes {
  return (base && Object.hasOwn(base.folders, path) && base.folders[path]) || NEW_FOLDER
}

/** A file that the base has in this folder, or below it; undefined: none is known. */
export function fileBelow(path: string, { files = {} }: BaseFolders): string | undefined {
  const folder = Object.keys(files).find((one) => one === path || one.startsWith(`${path}/`))
  return folder === undefined ? undefined : `${folder}/${files[folder]}`
}

/** The folders above a file, outermost first. */
export function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

/** Puts the plans on a base. A path through one of its links is refused: a folder would replace that. */
export function placeOnBase(plans: readonly LayerPlan[], base: BaseFolders): LayerPlan[] {
  for (const { files } of plans) {
    for (const { path } of files) {
      const link = foldersAbove(path).find((folder) => Object.hasOwn(base.links, folder))
      if (link !== undefined) throw throughLink(path, link, base.links[link] ?? '')
    }
  }
  return plans.map((plan) => ({ ...plan, base }))
}

function throughLink(path: string, link: string, folder: string): StepError {
  return new StepError(
    'INPUT_INVALID',
    `/${path} cannot be put into the image: /${link} is a symbolic link of the base image`,
    {
      hint: `Write /${folder} in place of /${link}; a folder there would hide what the link leads to.`,
    },
  )
}
