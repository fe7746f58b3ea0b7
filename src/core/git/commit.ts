/** The suffix of a release's commit when some of its files are not in it: `3f2a…+dirty`. */
const MARK = '+dirty'
/** The length of the ledger's column; a shortened SHA-256 is still unique. */
const LONGEST = 64

export function markDirty(commit: string): string {
  return `${commit.slice(0, LONGEST - MARK.length)}${MARK}`
}

/** Whether a release was built with uncommitted files. */
export function isDirty(commit: string | undefined): boolean {
  return commit?.endsWith(MARK) ?? false
}

/** The commit without the suffix, as git knows it. */
export function withoutMark(commit: string): string {
  return isDirty(commit) ? commit.slice(0, -MARK.length) : commit
}

/** A commit for display: twelve digits, and the suffix. */
export function shortCommit(commit: string): string {
  return `${withoutMark(commit).slice(0, 12)}${isDirty(commit) ? MARK : ''}`
}
