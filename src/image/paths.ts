/** A path inside the image as tar names it: without `/` at either end. */
export function tarPath(path: string): string {
  return path.replace(/^\/+|\/+$/g, '')
}

/** The folders above a file, outermost first. */
export function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}
