import type { IncomingHttpHeaders } from 'node:http'
import type { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { sendForText, type TextResponse } from '../../core/http/body.ts'
import type { HttpClient, HttpRequest } from '../../core/http/client.ts'
import { connectionError, type Peer, statusError } from '../../core/http/errors.ts'

export interface Call {
  http: HttpClient
  /** What is done, for messages: `starting job webapi`. */
  what: string
  /** Whose server it is, for messages: `Jenkins`. */
  server: string
  url: string | URL
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH'
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
  /** Sent as a form. */
  form?: Record<string, string>
  /** Sent as it is. */
  text?: string
  signal: AbortSignal
  /** Milliseconds in all; default 20 s. */
  timeout?: number
  /** Of 4xx: those that are a result, not an error. */
  allow?: readonly number[]
}

export interface CallResponse {
  status: number
  headers: IncomingHttpHeaders
  text: string
  /** The body as JSON; undefined when it is none. */
  json(): unknown
  /** The body as JSON of this shape; INPUT_INVALID when another kind of server responds. */
  read<Schema extends z.ZodType>(schema: Schema): z.output<Schema>
}

const TIMEOUT = 20_000
const LONGEST_RESPONSE = 4 * 1024 * 1024

/** An event waits meanwhile, so whatever is wrong with the connection is tried again. */
const PEER: Peer = {
  hints: {
    name: 'Check its address in crosscloud.server.yml.',
    protocol: 'Check its address in crosscloud.server.yml: http or https.',
    certificate: 'Name its certificate authority: ca in crosscloud.server.yml.',
    connection: 'Check that it runs, and that this machine reaches it.',
  },
  alwaysRetryable: true,
}

/**
 * One request, sent once; redirects are not followed. UNAVAILABLE, retryable, when the server does
 * not answer, or with 408, 429 or 5xx; UNAUTHORIZED for 401; FORBIDDEN for 403; NOT_FOUND;
 * INPUT_INVALID for the rest of 4xx. Messages never show the URL's query, which may hold a secret.
 */
export async function call(request: Call): Promise<CallResponse> {
  const { http, what, server, url, signal, timeout = TIMEOUT, allow = [] } = request
  const response = await sendForText(http, new URL(url), {
    method: request.method ?? 'GET',
    ...contentOf(request),
    longest: LONGEST_RESPONSE,
    timeout,
    signal,
  }).catch((error: unknown) => {
    throw connectionError(`${what}: ${server} does not answer`, error, PEER)
  })
  const { status } = response
  if (status >= 400 && !allow.includes(status)) throw refused(request, response)
  return responseOf(request, response)
}

function responseOf(request: Call, { status, headers, text }: TextResponse): CallResponse {
  const json = () => parse(text)
  return {
    status,
    headers,
    text,
    json,
    read(schema) {
      const result = schema.safeParse(json())
      if (result.success) return result.data
      const { what, server } = request
      throw new StepError(
        'INPUT_INVALID',
        `${what}: the answer (${status}) is not one of ${server}`,
        {
          hint: hints.INPUT_INVALID,
          cause: result.error,
        },
      )
    },
  }
}

function contentOf({ headers, json, form, text }: Call): Pick<HttpRequest, 'headers' | 'body'> {
  const content = (type: string | undefined, body: string | undefined) => ({
    headers: { accept: 'application/json', ...(type && { 'content-type': type }), ...headers },
    body: body === undefined ? undefined : Buffer.from(body),
  })
  if (json !== undefined) return content('application/json', JSON.stringify(json))
  if (form !== undefined) {
    return content('application/x-www-form-urlencoded', new URLSearchParams(form).toString())
  }
  return content(undefined, text)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function refused({ what, server }: Call, response: TextResponse): StepError {
  const reason = response.text.replace(/\s+/g, ' ').trim().slice(0, 200)
  const message = `${what}: ${server} answers ${response.status}${reason && `: ${reason}`}`
  const hint = (code: StepError['code']) => hints[code]
  return statusError(message, response, { otherwise: 'INPUT_INVALID', hint })
}

const RIGHTS = 'Check the token, and what it may do. docs/webhooks.md tells what is needed.'
const hints: Partial<Record<StepError['code'], string>> = {
  UNAUTHORIZED: RIGHTS,
  FORBIDDEN: RIGHTS,
  NOT_FOUND: 'Check the names in crosscloud.server.yml, and whether the token may see them.',
  INPUT_INVALID: 'Check what crosscloud.server.yml says about it.',
}
