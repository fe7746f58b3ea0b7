import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { isStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { compareFiles, type FileComparison, type ReadPath } from '../../targets/instance-files.ts'
import { placeOf, problemLine, type WritablePaths } from './changed-files.ts'

/** A folder, or the one .war file, and what must be in it: path from `root` → MD5. */
export interface Tree {
  root: string
  files: Map<string, string>
  /** Unpacked from the .war file by the server, if its settings say so. */
  unpacked: boolean
}

/** Tomcat writes it when it has unpacked a WAR: org.apache.catalina.startup.ExpandWar. */
const UNPACKED_MARK = 'META-INF/war-tracker'
const EMPTY_MD5 = createHash('md5').digest('hex')
/** milliseconds */
const UNPACKING = 30_000

/** Undefined where the server unpacked nothing. */
export async function compareTree(
  read: ReadPath,
  { root, files, unpacked }: Tree,
  placed: readonly string[],
  signal: AbortSignal,
): Promise<FileComparison | undefined> {
  const inside = placed.filter((path) => path.startsWith(`${root}/`))
  const extraAllowed = new Set(inside.map((path) => path.slice(root.length + 1)))
  // A rendered file may take the place of one from the WAR; then its own hash is what counts.
  const expected = new Map([...files].filter(([path]) => !extraAllowed.has(path)))
  const compare = () => compareFiles(read, root, expected, { extraAllowed, signal })
  if (!unpacked) return compare()
  expected.set(UNPACKED_MARK, EMPTY_MD5)
  for (const end = Date.now() + UNPACKING; ; ) {
    try {
      const found = await compare()
      const isMarked = !found.missing.includes(UNPACKED_MARK)
      const missing = found.missing.filter((path) => path !== UNPACKED_MARK)
      const isWhole = missing.length + found.changed.length === 0
      // Without a health check the server may still be unpacking.
      if (isMarked || isWhole || found.extra.length > 0 || Date.now() > end) {
        return { ...found, missing, files: found.files - (isMarked ? 1 : 0) }
      }
    } catch (error) {
      if (isStepError(error, 'NOT_FOUND')) return undefined
      throw error
    }
    await wait(500, signal)
  }
}

/** Extra files that have not changed since the image are of the base image. */
export function treeProblems(
  root: string,
  { changed, missing, extra }: FileComparison,
  { named }: WritablePaths,
  since: ReadonlySet<string>,
): string[] {
  const full = (path: string) =>
    path === basename(root) && root.endsWith('.war') ? root : `${root}/${path}`
  const differs = (path: string) => placeOf(path, named) === undefined
  return [
    ...changed
      .map(full)
      .filter(differs)
      .map((path) => problemLine('changed', path)),
    ...missing
      .map(full)
      .filter(differs)
      .map((path) => problemLine('missing', path)),
    ...extra
      .map(full)
      .filter(differs)
      .map((path) => {
        const line = problemLine('extra', path)
        return since.has(path) ? line : `${line} (of the base image, or on a volume)`
      }),
  ]
}
