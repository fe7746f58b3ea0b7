/** What ends the commit of a release whose files are not all in it: `3f2a…+dirty`. */
const MARK = '+dirty'
/** The ledger keeps so many characters; a SHA-256 that was shortened is still one commit's alone. */
const LONGEST = 64

export function markDirty(commit: string): string {
  return `${commit.slice(0, LONGEST - MARK.length)}${MARK}`
}

/** Whether a release was built with files that are in no commit. */
export function isDirty(commit: string | undefined): boolean {
  return commit?.endsWith(MARK) ?? false
}

/** The commit that git knows. */
export function withoutMark(commit: string): string {
  return isDirty(commit) ? commit.slice(0, -MARK.length) : commit
}

/** A commit for people: twelve digits, and the mark. */
export function shortCommit(commit: string): string {
  return `${withoutMark(commit).slice(0, 12)}${isDirty(commit) ? MARK : ''}`
}
