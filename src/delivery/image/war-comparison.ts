import { StepError } from '../../core/errors.ts'
import { indentedLines } from '../../core/lists.ts'
import type { LayerContent, WarLayout } from '../../image/layers.ts'
import type { FileTree } from '../../image/tree.ts'
import { placeOf, problemLine } from '../verification/changed-files.ts'

/** What an image must hold: the files of the WAR, and the WAR itself. */
export interface WarFiles {
  files: readonly LayerContent[]
  /** Of the .war file, hex. */
  md5: string
}

interface Place {
  webapp: string
  warLayout: WarLayout
  writable: readonly string[]
}

/** VERIFY_FAILED unless the image has at its place what the WAR has, no more and no less. */
export function requireWar(tree: FileTree, war: WarFiles, { webapp, warLayout, writable }: Place) {
  const folder = webapp.replace(/\/+$/, '')
  const file = `${folder}.war`
  const isPackaged = warLayout === 'packaged'
  const expected = isPackaged
    ? new Map([[file, war.md5]])
    : new Map(war.files.map(({ path, md5 }) => [path, md5]))
  const found = new Map([...tree.below(folder), ...(isPackaged ? tree.below(file) : [])])
  const isCompared = (path: string) => placeOf(path, writable) === undefined
  const wrong = [...expected.keys()].filter((path) => found.get(path) !== expected.get(path))
  const extra = [...found.keys()].filter((path) => !expected.has(path))
  const problems = [
    ...wrong
      .filter(isCompared)
      .map((path) => problemLine(found.has(path) ? 'changed' : 'missing', path)),
    ...extra.filter(isCompared).map((path) => problemLine('extra', path)),
  ]
  if (problems.length === 0) return
  const other = isPackaged ? folder : file
  const hint =
    found.size === 0 && tree.below(other).size > 0
      ? `It has ${other}: set \`image.layout: ${isPackaged ? 'exploded' : 'packaged'}\`.`
      : 'image.webapp names where the Dockerfile puts the WAR, by a path without symbolic links. What the application writes there itself belongs into image.writable.'
  throw new StepError(
    'VERIFY_FAILED',
    `the built image does not hold the WAR (MD5 ${war.md5}) in ${isPackaged ? file : folder}:\n${indentedLines(problems, 20)}`,
    { hint },
  )
}
