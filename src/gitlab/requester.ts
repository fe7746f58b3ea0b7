import type { FormattedResponse, RequestOptions } from '@gitbeaker/requester-utils'
import type { StepError } from '../core/errors.ts'
import { sendForText, type TextResponse } from '../core/http/body.ts'
import type { HttpRequest } from '../core/http/client.ts'
import { codeOfStatus, connectionError, type Peer, statusError } from '../core/http/errors.ts'
import type { GitlabAccess, SettingsPlace } from './access.ts'

/** Milliseconds that one request may take in all. */
const TIMEOUT = 30_000
const LONGEST_RESPONSE = 16 << 20

/**
 * Sends one request of gitbeaker's, once. Its own requester repeats what was answered with 502, POST
 * included: the pipeline that was started before that response got lost would be started again.
 */
export function createSender(access: GitlabAccess) {
  const { http, signal, url: server, timeout = TIMEOUT } = access
  return async (
    endpoint: string,
    options: RequestOptions = {} as RequestOptions,
  ): Promise<FormattedResponse> => {
    const { prefixUrl = '', searchParams, method, headers, body } = options
    const url = new URL(endpoint, prefixUrl.endsWith('/') ? prefixUrl : `${prefixUrl}/`)
    url.search = searchParams ?? ''
    const response = await sendForText(http, url, {
      method: (method ?? 'GET') as NonNullable<HttpRequest['method']>,
      headers: headers ?? {},
      body: typeof body === 'string' ? Buffer.from(body) : undefined,
      longest: LONGEST_RESPONSE,
      timeout,
      signal,
    }).catch((error: unknown) => {
      throw connectionError(`${server} does not answer`, error, peerOf(access))
    })
    const content = contentOf(response)
    if (response.status < 200 || response.status >= 300) throw refusal(access, response, content)
    return {
      body: content ?? response.text,
      headers: response.headers as Record<string, string>,
      status: response.status,
    }
  }
}

/** A proxy in between may promise JSON and send a page. */
function contentOf({ headers, text }: TextResponse): Record<string, unknown> | undefined {
  if (!headers['content-type']?.startsWith('application/json')) return undefined
  try {
    return (JSON.parse(text) ?? {}) as Record<string, unknown>
  } catch {
    return undefined
  }
}

/** What to do next depends on where the address, the names and the token are written. */
const places: Record<SettingsPlace, Record<'token' | 'names' | 'change' | 'ca', string>> = {
  application: {
    token: 'Give one with scope api, of a maintainer of the project, in GITLAB_TOKEN.',
    names: 'Check the name in crosscloud.yml.',
    change: 'Change it in crosscloud.yml.',
    ca: 'Name its certificate authority: ca, under gitlab in crosscloud.yml.',
  },
  server: {
    token: 'Renew gitlab.token in crosscloud.server.yml, and start the server again.',
    names: 'Check the names in crosscloud.server.yml, and whether gitlab.token may see them.',
    change: 'Change it in crosscloud.server.yml, start the server again, and retry the event.',
    ca: 'Name its certificate authority: ca in crosscloud.server.yml.',
  },
}

function peerOf({ place = 'application' }: GitlabAccess): Peer {
  const address = 'Check the address of GitLab.'
  return {
    hints: {
      name: address,
      protocol: address,
      certificate: places[place].ca,
      content: address,
      connection: 'Check the server.',
    },
    alwaysRetryable: place === 'server',
  }
}

function refusal(
  { url, place = 'application' }: GitlabAccess,
  response: TextResponse,
  content: Record<string, unknown> | undefined,
): StepError {
  const { status } = response
  const { token, names, change } = places[place]
  const refused = (message: string, hint: string) =>
    statusError(message, response, { otherwise: 'INPUT_INVALID', hint: () => hint })
  if (status < 400) {
    const hint = 'Write the address that GitLab itself has, with https where it has that.'
    return refused(`${url} sends elsewhere (${status})`, hint)
  }
  switch (codeOfStatus(status, response.headers)) {
    case 'UNAVAILABLE':
      return refused(`GitLab answers ${status}`, 'Run it again in a while.')
    case 'UNAUTHORIZED':
      return refused('GitLab does not know the token', token)
    case 'FORBIDDEN':
      return refused(
        'the token may not do that',
        'It must have scope api, and be of a maintainer of the project.',
      )
    case 'NOT_FOUND':
      return refused('GitLab has no such resource', names)
    default:
      return refused(`GitLab refuses it (${status}): ${reasonOf(response, content)}`, change)
  }
}

function reasonOf({ text }: TextResponse, content: Record<string, unknown> | undefined): string {
  if (content === undefined) return text.slice(0, 500)
  const reason = content.error ?? content.message ?? ''
  return typeof reason === 'string' ? reason : JSON.stringify(reason)
}
