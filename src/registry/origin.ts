import { StepError } from '../core/errors.ts'
import { isLoopback } from '../core/http/loopback.ts'

/** Which registries are spoken to without TLS, and which have their own certificate authority. */
export interface OriginOptions {
  /** Hosts (`host` or `host:port`) that speak plain http. */
  insecure?: readonly string[] | undefined
  /** PEM certificates by host (`host` or `host:port`), trusted beside the usual ones. */
  ca?: Readonly<Record<string, string>> | undefined
}

function hostnameOf(registry: string): string {
  return registry.replace(/:\d+$/, '')
}

export function caFor(registry: string, { ca }: OriginOptions): string | undefined {
  return ca?.[registry] ?? ca?.[hostnameOf(registry)]
}

/** The root of a registry's API. Loopback and `insecure` hosts speak http, as in the docker engine. */
export function originOf(registry: string, options: OriginOptions): URL {
  const host = hostnameOf(registry)
  const named = options.insecure?.some((name) => name === registry || name === host) ?? false
  const plain = named || (isLoopback(host) && caFor(registry, options) === undefined)
  return new URL(`${plain ? 'http' : 'https'}://${registry}/`)
}

/**
 * Where a response from `from` leads. A proxy that ends TLS may let a registry write `http://`
 * with its own name (goharbor/harbor#6405): the scheme is upgraded, on the same host only.
 */
export function followLocation(what: string, from: URL, location: string | undefined): URL {
  if (!location || !URL.canParse(location, from.href)) {
    throw new StepError('COMMAND_FAILED', `${what}: the registry's answer has no usable Location`, {
      hint: 'Check the registry and the proxies before it.',
    })
  }
  const url = new URL(location, from)
  url.username = ''
  url.password = ''
  if (url.protocol === from.protocol || url.protocol === 'https:') return url
  if (url.protocol === 'http:' && url.hostname === from.hostname) {
    const given = url.port
    url.protocol = from.protocol
    url.port = given === '' ? from.port : given
    return url
  }
  throw new StepError(
    'COMMAND_FAILED',
    `${what}: ${from.host} leads to ${url.protocol}//${url.host}`,
    {
      hint: 'The registry must name an https address. Check its external URL and its proxies.',
    },
  )
}
