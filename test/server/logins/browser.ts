interface Cookie {
  value: string
  path: string
}

export interface Page {
  status: number
  url: URL
  headers: Headers
  text: string
  /** As JSON. */
  body: Record<string, unknown>
}

export type Browser = ReturnType<typeof openBrowser>

/**
 * What a browser does with cookies and redirects. Loopback is a secure context, as in Chrome and
 * Firefox; a navigation sends no Origin.
 */
export function openBrowser() {
  const jars = new Map<string, Map<string, Cookie>>()
  const jarOf = ({ host }: URL) => {
    const jar = jars.get(host) ?? new Map<string, Cookie>()
    jars.set(host, jar)
    return jar
  }
  const keep = (url: URL, line: string) => {
    const [pair = '', ...attributes] = line.split(/;\s*/)
    const [name = '', value = ''] = [
      pair.slice(0, pair.indexOf('=')),
      pair.slice(pair.indexOf('=') + 1),
    ]
    const of = (wanted: string) =>
      attributes.find((text) => text.toLowerCase().startsWith(`${wanted}=`))?.split('=')[1]
    const path = of('path') ?? '/'
    const isOver = of('max-age') === '0' || Date.parse(of('expires') ?? '') < Date.now()
    if (isOver) jarOf(url).delete(`${name} ${path}`)
    else jarOf(url).set(`${name} ${path}`, { value, path })
  }
  const send = async (
    address: string | URL,
    {
      method = 'GET',
      headers = {},
      body,
    }: { method?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<Page> => {
    const url = new URL(address)
    const cookie = [...jarOf(url)]
      .filter(([, { path }]) => url.pathname.startsWith(path))
      .map(([key, { value }]) => `${key.split(' ')[0]}=${value}`)
      .join('; ')
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      headers: { accept: 'text/html', ...(cookie && { cookie }), ...headers },
      ...(body !== undefined && { body }),
      signal: AbortSignal.timeout(20_000),
    })
    for (const line of response.headers.getSetCookie()) keep(url, line)
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    const { status, headers: received } = response
    return { status, url, headers: received, text, body: isJson ? JSON.parse(text) : {} }
  }
  /** Where it would go next. */
  const next = ({ url, headers }: Page) => {
    const location = headers.get('location')
    return location === null ? undefined : new URL(location, url)
  }
  /** Follows redirects until an address is reached that `stop` wants to look at first. */
  const go = async (
    address: string | URL,
    stop: (url: URL) => boolean = () => false,
  ): Promise<{ page: Page; stopped: URL | undefined }> => {
    let page = await send(address)
    for (let hops = 0; hops < 20; hops++) {
      const to = next(page)
      if (to === undefined) return { page, stopped: undefined }
      if (stop(to)) return { page, stopped: to }
      page = await send(to)
    }
    throw new Error(`too many redirects at ${page.url}`)
  }
  return {
    send,
    go,
    cookie: (address: string, name: string) => jarOf(new URL(address)).get(`${name} /`)?.value,
    setCookie: (address: string, name: string, value: string) =>
      jarOf(new URL(address)).set(`${name} /`, { value, path: '/' }),
  }
}
