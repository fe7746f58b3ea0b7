import type { StructuredPatchHunk } from 'diff'
import { speaksOfSecret } from './secrecy.ts'

/** One file now and as it would be. */
export interface FilePair {
  path: string
  /** Undefined where there is no such file yet. */
  before: Buffer | undefined
  after: Buffer
  /** `after` with every secret replaced, line for line; undefined when that cannot be done. */
  masked: string | undefined
  /** Whether `after` holds a secret: then what stood there before may be one too. */
  holdsSecrets: boolean
}

const WITHHELD = '(not shown: it may hold a secret)'

/**
 * The differing files as unified diffs, without any secret: lines of the new file are shown from its
 * masked form, and lines that go away are withheld where the file holds secrets.
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
  // What a line that goes away held may still be a password somewhere.
  const hidden = (line: string) => holdsSecrets || speaksOfSecret(line)
  let at = newStart - 1
  for (const line of hunk.lines) {
    const sign = line[0] ?? ''
    if (sign === '\\') lines.push(line)
    else if (sign === '-') lines.push(`-${hidden(line) ? WITHHELD : line.slice(1)}`)
    else lines.push(`${sign}${shown === undefined ? WITHHELD : shown[at++]}`)
  }
  return lines
}
