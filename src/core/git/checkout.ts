import { existsSync, realpathSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path'

type Variables = Readonly<Record<string, string | undefined>>

/**
 * Whether a path is in the working tree, whose content every committer controls: below one of the
 * folders, the repository around it, or CI's checkout folder. Symbolic links are followed.
 */
export function isInCheckout(
  path: string,
  folders: readonly string[],
  variables: Variables,
): boolean {
  const { CI_PROJECT_DIR, GITHUB_WORKSPACE, WORKSPACE } = variables
  const ofCi = [CI_PROJECT_DIR, GITHUB_WORKSPACE, WORKSPACE].filter((path) => path !== undefined)
  const trees = [...folders.map(repositoryAround), ...ofCi.filter((path) => path !== '')]
  const [start = '.'] = folders
  const real = realPath(resolve(start, path))
  return trees.some((tree) => isBelow(real, realPath(resolve(start, tree))))
}

/** Whether a path is this folder or below it; both absolute, links are not followed. */
export function isBelow(path: string, folder: string): boolean {
  const below = relative(folder, path)
  return !isAbsolute(below) && below.split(/[\\/]/)[0] !== '..'
}

/** The outermost folder with `.git`: a submodule is part of its parent. */
function repositoryAround(folder: string): string {
  let outermost = folder
  for (let at = realPath(resolve(folder)); ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) outermost = at
    if (dirname(at) === at) return outermost
  }
}

/** Follows links in the part of a path that exists. */
export function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return dirname(path) === path ? path : join(realPath(dirname(path)), basename(path))
  }
}
