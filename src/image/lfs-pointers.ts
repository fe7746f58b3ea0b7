import { inflateRawSync } from 'node:zlib'
import { StepError } from '../core/errors.ts'
import { isLfsPointer, LARGEST_POINTER } from '../core/git/lfs.ts'
import { listSome } from '../core/lists.ts'
import type { MemberSource } from './gzip.ts'
import type { LayerPlan } from './layers.ts'

/** Refuses pointers of Git LFS: they would be served, and verified, in place of the files. */
export async function refusePointers(plans: readonly LayerPlan[]): Promise<void> {
  const found: string[] = []
  for (const { source } of plans.flatMap(({ files }) => files)) {
    if (source.size <= LARGEST_POINTER && isLfsPointer(await contentOf(source))) {
      found.push(source.name)
    }
  }
  if (found.length === 0) return
  throw new StepError(
    'INPUT_INVALID',
    `${listSome(found)}: in place of the file there is a pointer of Git LFS`,
    { hint: 'Run `git lfs pull` and build again; in CI, install git-lfs where it builds.' },
  )
}

/** Empty for damaged content: that is reported when the layer is written. */
async function contentOf({ method, read }: MemberSource): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of read()) chunks.push(Buffer.from(chunk))
  const stored = Buffer.concat(chunks)
  if (method === 'stored') return stored
  try {
    return inflateRawSync(stored, { maxOutputLength: LARGEST_POINTER })
  } catch {
    return Buffer.alloc(0)
  }
}
