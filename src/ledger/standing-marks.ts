import { isOfScan } from '../core/scanner.ts'
import type { MarksTable } from './database/schema.ts'
import type { Mark } from './ledger.ts'

type Facts = Pick<Mark, 'bad' | 'by' | 'identity'>

/**
 * Who says at present that a release is bad in an environment, of all marks on it there, oldest first.
 * People together and each scan, by its name, speak for themselves: a scan that is clean takes back its
 * own word alone, a person answers for all.
 */
export function standingWords<M extends Facts>(marks: readonly M[]): Map<string, M> {
  const words = new Map<string, M>()
  for (const mark of marks) {
    if (mark.bad) words.set(speakerOf(mark), mark)
    else if (isOfScan(mark)) words.delete(mark.by)
    else words.clear()
  }
  return words
}

/** The mark that counts. While a scan's word stands it comes first: nobody may force it. */
export function standingMark<M extends Facts>(marks: readonly M[]): M | undefined {
  const words = [...standingWords(marks).values()]
  return words.findLast(isOfScan) ?? words.at(-1) ?? marks.at(-1)
}

/** Marks from before identities were kept may be a scan's. */
function speakerOf(mark: Facts): string {
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
