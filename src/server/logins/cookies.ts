/**
 * `__Host-`: only this host sets it, over TLS, for all paths; no neighbour below the same domain can put
 * one of theirs into the browser.
 */
export const SESSION_COOKIE = '__Host-crosscloud'
/** Binds a login to the browser that started it. */
export const LOGIN_COOKIE = '__Host-crosscloud-login'

const FIXED = 'Path=/; Secure; HttpOnly; SameSite=Lax'

/** Lax, not Strict: the issuer sends the browser back here. */
export const setCookie = (name: string, value: string, seconds?: number) =>
  `${name}=${value}; ${FIXED}${seconds === undefined ? '' : `; Max-Age=${seconds}`}`

export const clearCookie = (name: string) => setCookie(name, '', 0)

/** Its value; undefined as well where it is there twice: no browser sends a `__Host-` cookie so. */
export function readCookie(
  headers: Readonly<Record<string, unknown>>,
  name: string,
): string | undefined {
  const { cookie } = headers
  if (typeof cookie !== 'string') return undefined
  const found = cookie.split(';').flatMap((pair) => {
    const at = pair.indexOf('=')
    return at > 0 && pair.slice(0, at).trim() === name ? [pair.slice(at + 1).trim()] : []
  })
  return found.length === 1 ? found[0] : undefined
}
