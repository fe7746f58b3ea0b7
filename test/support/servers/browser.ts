/** Asks for files of a web site as a browser does that keeps them and must ask again each time. */
export function browser(address: unknown) {
  let site = String(address)
  const kept = new Map<string, Record<string, string>>()
  const ask = async (path: string) => {
    const response = await fetch(new URL(path, site), { headers: kept.get(path) ?? {} })
    const text = await response.text()
    const [etag, time] = ['etag', 'last-modified'].map((name) => response.headers.get(name))
    if (response.status === 200) {
      kept.set(path, {
        ...(etag && { 'if-none-match': etag }),
        ...(time && { 'if-modified-since': time }),
      })
    }
    return { status: response.status, etag, text }
  }
  return Object.assign(ask, {
    /** The same site has another address now. */
    goTo: (address: unknown) => {
      site = String(address)
    },
  })
}
