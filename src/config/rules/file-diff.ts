import type { StructuredPatchHunk } from 'diff'
import { namesSecret } from './secrecy.ts'

/** A file now and after the change. */
export interface FilePair {
  path: string
  /** Undefined when the file does not exist yet. */
  before: Buffer | undefined
  after: Buffer
  /** `after` with every secret replaced, line by line; undefined when that is impossible. */
  masked: string | undefined
  /** Whether `after` holds a secret: then the old lines may hold secrets as well. */
  holdsSecrets: boolean
}

const WITHHELD = '(not shown: it may hold a secret)'

/**
 * The differing files as unified diffs, without any secret: new lines are shown in their masked
 * form, and removed lines are withheld where the file holds secrets.
 */
export async function diffFiles(
  pairs: readonly FilePair[],
): Promise<{ path: string; lines: string[] }[]> {
  const { structuredPatch } = await import('diff')
  const different: { path: string; lines: string[] }[] = []
  for (const { path, before, after, masked, holdsSecrets } of pairs) {
    if (before?.equals(after)) continue
    const patch = structuredPatch(path, path, before?.toString() ?? '', after.toString(), '', '', {
      context: 2,
    })
    const plain = holdsSecrets ? masked?.split('\n') : after.toString().split('\n')
    const usable = plain?.length === after.toString().split('\n').length ? plain : undefined
    const lines = patch.hunks.flatMap((hunk) => hunkLines(hunk, usable, holdsSecrets))
    const source = before === undefined ? '/dev/null' : `a${path}`
    different.push({ path, lines: [`--- ${source}`, `+++ b${path}`, ...lines] })
  }
  return different
}

function hunkLines(
  hunk: StructuredPatchHunk,
  shown: readonly string[] | undefined,
  holdsSecrets: boolean,
): string[] {
  const { oldStart, oldLines, newStart, newLines } = hunk
  const lines = [`@@ -${oldStart},${oldLines} +${newStart},${newLines} @@`]
  // A removed password may still be in use elsewhere.
  const hidden = (line: string) => holdsSecrets || namesSecret(line)
  let at = newStart - 1
  for (const line of hunk.lines) {
    const sign = line[0] ?? ''
    if (sign === '\\') lines.push(line)
    else if (sign === '-') lines.push(`-${hidden(line) ? WITHHELD : line.slice(1)}`)
    else lines.push(`${sign}${shown === undefined ? WITHHELD : shown[at++]}`)
  }
  return lines
}
