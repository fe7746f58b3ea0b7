import { existsSync, realpathSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path'

type Variables = Readonly<Record<string, string | undefined>>

/**
 * Whether a path is in the working tree, where anybody who may push puts files: below one of the
 * folders, the repository around it, or what CI calls the checkout. Symbolic links are followed.
 */
export function isInCheckout(
  path: string,
  folders: readonly string[],
  variables: Variables,
): boolean {
  const { CI_PROJECT_DIR, GITHUB_WORKSPACE, WORKSPACE } = variables
  const told = [CI_PROJECT_DIR, GITHUB_WORKSPACE, WORKSPACE].filter((one) => one !== undefined)
  const trees = [...folders.map(repositoryAround), ...told.filter((one) => one !== '')]
  const [start = '.'] = folders
  const real = realPath(resolve(start, path))
  return trees.some((tree) => isBelow(real, realPath(resolve(start, tree))))
}

/** Whether a path is this folder, or in it; both absolute, links as they stand. */
export function isBelow(path: string, folder: string): boolean {
  const way = relative(folder, path)
  return !isAbsolute(way) && way.split(/[\\/]/)[0] !== '..'
}

/** The outermost folder with `.git`: a submodule is part of what is around it. */
function repositoryAround(folder: string): string {
  let outermost = folder
  for (let at = realPath(resolve(folder)); ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) outermost = at
    if (dirname(at) === at) return outermost
  }
}

/** Of what does not exist yet, the part that does is followed. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return dirname(path) === path ? path : join(realPath(dirname(path)), basename(path))
  }
}
