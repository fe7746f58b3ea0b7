import { createHash } from 'node:crypto'
import { mkdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { z } from 'zod'
import type { Digest } from '../../core/digest.ts'
import { type LayerCache, readSealed, sweep, writeSealed } from '../cache.ts'
import { baseFoldersSchema, layerFoldersSchema } from './folders.ts'

/** Records of layers' folders, kept between builds: of one layer, and of all layers of a base. */
export const folderRecords = (cache: LayerCache) => ({
  layer: (diffId: Digest) => record(cache, diffId.slice('sha256:'.length), layerFoldersSchema),
  base: (diffIds: readonly Digest[]) => {
    const chain = createHash('sha256').update(diffIds.join('\n')).digest('hex')
    return record(cache, `base-${chain}`, baseFoldersSchema)
  },
})

function record<Schema extends z.ZodType>(cache: LayerCache, name: string, schema: Schema) {
  const folder = join(cache.folder, 'folders')
  const path = join(folder, `${name}.json`)
  return {
    /** Undefined when there is no record with our seal. */
    async read(): Promise<z.output<Schema> | undefined> {
      const text = await readSealed(cache, path, name)
      if (text === undefined) return undefined
      const now = new Date()
      await utimes(path, now, now).catch(() => {})
      return schema.parse(JSON.parse(text))
    },
    async write(value: z.output<Schema>): Promise<void> {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await writeSealed(cache, path, name, JSON.stringify(value))
      await sweep(folder)
    },
  }
}
