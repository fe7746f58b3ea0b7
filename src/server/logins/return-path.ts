const LONGEST = 2000

/**
 * A path of this server to return to after the login; undefined for anything that a browser could take for
 * another host, now or once it is decoded. Those of the login itself would lead in circles.
 */
export function returnPath(given: unknown, origin: string): string | undefined {
  if (given === undefined || given === '') return '/'
  if (typeof given !== 'string' || given.length > LONGEST || !isPath(given)) return undefined
  if (!URL.canParse(given, origin)) return undefined
  const { origin: found, pathname, search, hash, username } = new URL(given, origin)
  if (found !== origin || username !== '' || !isPath(pathname)) return undefined
  if (/^\/log(?:in|out)(?:\/|$)/.test(pathname)) return '/'
  return `${pathname}${search}${hash}`
}

/** As it is, and as whoever decodes it once or twice more sees it. */
function isPath(text: string): boolean {
  let path = text.split(/[?#]/, 1)[0] ?? ''
  for (let round = 0; round < 3; round++) {
    if (!/^\/(?!\/)/.test(path) || /[\\\p{C}\p{Zl}\p{Zp}]|\/\.*\//u.test(path)) return false
    try {
      path = decodeURIComponent(path)
    } catch {
      return false
    }
  }
  return true
}
