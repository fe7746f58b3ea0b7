import type { CustomFetch } from 'openid-client'
import { sendForText } from '../../core/http/body.ts'
import type { HttpClient, HttpRequest } from '../../core/http/client.ts'
import { connectionError } from '../../core/http/errors.ts'
import { isSafe } from '../../identity/url.ts'

const LONGEST = 512 * 1024
/** Milliseconds that an issuer may take for one answer: a login takes three, and connections last 20 s. */
export const TIMEOUT = 6_000

/** Requests to an issuer by our own client, which knows proxies and authorities. */
export function fetchBy(http: HttpClient, owner: string, stop: AbortSignal): CustomFetch {
  return async (address, { method, headers, body, signal }) => {
    const url = new URL(address)
    const what = `asking ${url.origin}${url.pathname}`
    if (!isSafe(url)) throw new TypeError(`${what}: it is neither https nor on this machine`)
    const signals = signal === undefined ? [stop] : [stop, signal]
    const sent = body === undefined || body === null ? undefined : Buffer.from(String(body))
    const answer = await sendForText(http, url, {
      method: method as NonNullable<HttpRequest['method']>,
      headers,
      body: sent,
      longest: LONGEST,
      timeout: TIMEOUT,
      signal: AbortSignal.any(signals),
    }).catch((error: unknown) => {
      throw connectionError(what, error, {
        hints: {
          name: `Check issuer of ${owner} in crosscloud.server.yml.`,
          protocol: `Check issuer of ${owner}: this port does not speak https.`,
          certificate: `Name the authority of its certificate: ca of ${owner}.`,
          connection: 'Check that the issuer runs and that this machine reaches it.',
        },
      })
    })
    const { status, text } = answer
    const received = new Headers()
    for (const [name, value] of Object.entries(answer.headers)) {
      for (const one of [value].flat()) if (one !== undefined) received.append(name, one)
    }
    return new Response([204, 205, 304].includes(status) ? null : text, {
      status,
      headers: received,
    })
  }
}
