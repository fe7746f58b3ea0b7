import { lstat, readFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { StepError } from '../../core/errors.ts'
import { type Git, submodulePaths } from '../../core/git/git.ts'

/**
 * Fetches the submodules of a checkout, and theirs, from the server of its own repository alone: a
 * commit names their addresses, and the credential goes with them.
 */
export async function fetchFromSameHost(url: string, project: string, git: Git): Promise<void> {
  const folders = ['.']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const there = folder
    const within: Git = (...args) => git('-C', there, ...args)
    const paths = await submodulePaths(within)
    if (paths.length === 0) continue
    // git makes whole addresses of relative ones, which are those that it fetches from.
    await within('submodule', '--quiet', 'init')
    const { stdout } = await within(
      ...['config', '--local', '-z', '--get-regexp', String.raw`^submodule\..*\.url$`],
    )
    for (const entry of stdout.split('\0').filter((text) => text !== '')) {
      requireSameHost(url, entry.slice(entry.indexOf('\n') + 1), project)
    }
    await within('submodule', '--quiet', 'update', '--checkout')
    folders.push(...paths.map((path) => join(there, path)))
  }
}

function requireSameHost(url: string, address: string, project: string): void {
  const [own, other] = [new URL(url), URL.canParse(address) ? new URL(address) : undefined]
  const isSame = other?.protocol === own.protocol && other.host === own.host
  // All repositories of a machine have its one host.
  const beside = `${posix.dirname(own.pathname)}/`
  const isBeside = own.protocol !== 'file:' || other?.pathname.startsWith(beside)
  if (isSame && isBeside) return
  const where = other === undefined || other.host === '' ? 'elsewhere' : `at ${other.host}`
  throw new StepError('FORBIDDEN', `a submodule of ${project} is ${where}`, {
    hint: `Only those beside its own repository are fetched. Correct .gitmodules on the protected branch.`,
  })
}

/** With an address in .lfsconfig a commit says where Git LFS fetches from: also files of this machine. */
export async function refuseOtherLfs(folder: string, project: string, git: Git): Promise<void> {
  const { stdout } = await git(
    ...['ls-files', '--recurse-submodules', '-z', '--', ':(glob)**/.lfsconfig'],
  )
  for (const path of stdout.split('\0').filter((text) => text !== '')) {
    const file = join(folder, path)
    const found = await lstat(file).catch(() => undefined)
    if (found?.isFile() && !/url/i.test(await readFile(file, 'utf8'))) continue
    throw new StepError('FORBIDDEN', `${path} of ${project} says where Git LFS keeps files`, {
      hint: 'On a server they come from the repository itself. Remove the address on the protected branch.',
    })
  }
}
