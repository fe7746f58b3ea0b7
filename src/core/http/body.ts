import type { IncomingHttpHeaders } from 'node:http'
import { startDeadline } from '../deadline.ts'
import { cancelled } from '../errors.ts'
import type { HttpClient, HttpRequest, HttpResponse } from './client.ts'

/** The code of the error for a body that is longer than its limit. */
export const BODY_TOO_LONG = 'BODY_TOO_LONG'

export interface TextRequest extends HttpRequest {
  /** Milliseconds for all of it: connecting, waiting, reading. */
  timeout: number
  /** Most bytes that the body may have. */
  longest: number
}

export interface TextResponse {
  status: number
  headers: IncomingHttpHeaders
  text: string
}

/** One request with a short response, all of it within a time. Rejects as `send` does. */
export async function sendForText(
  http: HttpClient,
  url: URL,
  { timeout, longest, signal, ...request }: TextRequest,
): Promise<TextResponse> {
  const deadline = startDeadline(timeout)
  const either = AbortSignal.any([signal, deadline.signal])
  try {
    const response = await http.send(url, { ...request, signal: either })
    const { status, headers } = response
    return { status, headers, text: (await readBody(response, longest)).toString() }
  } catch (error) {
    if (signal.aborted) throw cancelled(signal)
    throw deadline.signal.aborted ? deadline.signal.reason : error
  } finally {
    deadline.end()
  }
}

/** The whole body; an error with the code BODY_TOO_LONG when it has more bytes than `longest`. */
export async function readBody({ body }: HttpResponse, longest: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > longest) throw tooLong(longest)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLong(longest: number): Error {
  const limit = longest < 1 << 20 ? `${longest >> 10} KiB` : `${longest >> 20} MiB`
  return Object.assign(new Error(`the answer is longer than ${limit}`), { code: BODY_TOO_LONG })
}

/** The body's JSON, if it is an object; undefined when it is anything else. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : undefined
  } catch {
    // The text is in no message: it may hold a token.
    return undefined
  }
}

export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}
