import { isOfScan } from '../core/scanner.ts'
import type { MarksTable } from './database/schema.ts'
import type { Mark } from './ledger.ts'

type Facts = Pick<Mark, 'bad' | 'by' | 'identity'>

/**
 * The marks that hold a release for bad in an environment, by their source, of all marks on it there,
 * oldest first. Each scan is a source of its own, by its name; people together are another. A clean scan
 * takes back its own mark only, a person takes back every mark.
 */
export function standingMarks<M extends Facts>(marks: readonly M[]): Map<string, M> {
  const standing = new Map<string, M>()
  for (const mark of marks) {
    if (mark.bad) standing.set(sourceOf(mark), mark)
    else if (isOfScan(mark)) standing.delete(mark.by)
    else standing.clear()
  }
  return standing
}

/** The mark that counts. A scan's mark comes first while it stands: it cannot be forced. */
export function standingMark<M extends Facts>(marks: readonly M[]): M | undefined {
  const standing = [...standingMarks(marks).values()]
  return standing.findLast(isOfScan) ?? standing.at(-1) ?? marks.at(-1)
}

/** Marks from before identities were kept may be a scan's. */
function sourceOf(mark: Facts): string {
  return isOfScan(mark) || mark.identity === undefined ? mark.by : 'a person'
}

type Row = Pick<MarksTable, 'bad' | 'marked_by' | 'identity'>

/** The same of rows of the table, for each key: a release in an environment. */
export function standingByKey<R extends Row>(
  rows: readonly R[],
  keyOf: (row: R) => string,
): Map<string, Omit<R, 'bad' | 'identity'> & Facts> {
  const groups = new Map<string, (Omit<R, 'bad' | 'identity'> & Facts)[]>()
  for (const row of rows) {
    const { bad, marked_by: by, identity } = row
    const mark = { ...row, bad: bad === 1, by, identity: identity ?? undefined }
    const key = keyOf(row)
    groups.set(key, [...(groups.get(key) ?? []), mark])
  }
  const standing = new Map<string, Omit<R, 'bad' | 'identity'> & Facts>()
  for (const [key, marks] of groups) {
    const mark = standingMark(marks)
    if (mark) standing.set(key, mark)
  }
  return standing
}
