import {
  type FormattedResponse,
  GitbeakerRequestError,
  GitbeakerTimeoutError,
  type RequestOptions,
} from '@gitbeaker/requester-utils'

/**
 * One request of gitbeaker's, sent once. Its own way sends again what was answered with 502, POST
 * included: the pipeline that was started before that answer got lost would be started again.
 */
export async function sendOnce(
  endpoint: string,
  options: RequestOptions = {} as RequestOptions,
): Promise<FormattedResponse> {
  const { prefixUrl = '', searchParams, method, headers, body, signal } = options
  const url = new URL(endpoint, prefixUrl.endsWith('/') ? prefixUrl : `${prefixUrl}/`)
  url.search = searchParams ?? ''
  const response = await fetch(url, {
    ...(method !== undefined && { method }),
    ...(headers !== undefined && { headers }),
    ...(body !== undefined && { body: body as NonNullable<RequestInit['body']> }),
    ...(signal !== undefined && { signal }),
    redirect: 'manual',
  }).catch((error: Error) => {
    const late = error.name === 'TimeoutError' || error.name === 'AbortError'
    throw late ? new GitbeakerTimeoutError('no answer in time') : error
  })
  const { status } = response
  const text = await response.text()
  const content = contentOf(response, text)
  if (!response.ok) {
    const description = descriptionOf(content, text)
    const request = new Request(url)
    throw new GitbeakerRequestError(description, { cause: { description, request, response } })
  }
  return { body: content ?? text, headers: Object.fromEntries(response.headers), status }
}

type Content = Record<string, unknown> | undefined

/** A proxy in between may promise JSON and send a page. */
function contentOf({ headers }: Response, text: string): Content {
  if (!headers.get('content-type')?.startsWith('application/json')) return undefined
  try {
    return (JSON.parse(text) ?? {}) as Content
  } catch {
    return undefined
  }
}

function descriptionOf(content: Content, text: string): string {
  if (content === undefined) return text.slice(0, 500)
  const told = content.error ?? content.message ?? ''
  return typeof told === 'string' ? told : JSON.stringify(told)
}
