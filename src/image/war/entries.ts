import { type FolderAttributes, folderOf } from '../base/folders.ts'
import type { LayerFile, LayerPlan } from '../layers.ts'
import { foldersAbove } from '../paths.ts'

/** A folder or a file of a layer, in the order of its tar. */
export type LayerEntry = { path: string } & (
  | { folder: FolderAttributes; file?: undefined }
  | { file: LayerFile; folder?: undefined }
)

/**
 * The entries of a layer's tar: each file after the folders above it, each folder once. A folder of
 * the base keeps its owner and mode. On an unknown base no folder above the layer's root is
 * written.
 */
export function* entriesOf({ root, files, base }: LayerPlan): Generator<LayerEntry> {
  const written = new Set<string>()
  for (const file of files) {
    for (const path of foldersAbove(file.path)) {
      if (written.has(path) || (!base && path.length < root.length)) continue
      written.add(path)
      yield { path, folder: folderOf(path, base) }
    }
    yield { path: file.path, file }
  }
}
