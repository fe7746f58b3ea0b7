import { type FolderAttributes, folderOf, foldersAbove } from '../base/folders.ts'
import type { LayerFile, LayerPlan } from '../layers.ts'

/** A folder or a file of a layer, in the order of its tar. */
export type LayerEntry = { path: string } & (
  | { folder: FolderAttributes; file?: undefined }
  | { file: LayerFile; folder?: undefined }
)

/**
 * What a layer's tar holds: each file after the folders above it, each folder once. A folder that
 * the base has keeps its owner and mode. Of an unknown base nothing above the layer's root is told.
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
