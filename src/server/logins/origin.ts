const SAFE = ['GET', 'HEAD', 'OPTIONS']

/**
 * Whether a request that a browser sends with its cookie comes from a page of this server. `Origin` is
 * in every POST of today's browsers, `Sec-Fetch-Site` in those without; who sends neither is no browser,
 * and has other means than a cookie.
 */
export function isFromHere(
  { method, headers }: { method: string; headers: Readonly<Record<string, unknown>> },
  origin: string,
): boolean {
  if (SAFE.includes(method)) return true
  const { origin: from, 'sec-fetch-site': site } = headers
  if (site !== undefined && site !== 'same-origin') return false
  return from === undefined ? site === 'same-origin' : from === origin
}
