import { describe, type ErrorCode, errorCodeOf, StepError } from '../../core/errors.ts'
import { SSH_FAILED } from './connect.ts'

/** How a host is named in messages. */
export interface HostName {
  name: string
  address: string
}

/** The HTTP status of an engine's response, if there was a response. */
export function statusOf(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | null)?.statusCode
  return typeof status === 'number' ? status : undefined
}

const byStatus: Record<number, ErrorCode> = {
  400: 'INPUT_INVALID',
  401: 'UNAUTHORIZED',
  403: 'UNAUTHORIZED',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  503: 'UNAVAILABLE',
}

/** What a failed call to an engine means. `doing` is what was tried: `creating webapi.next`. */
export function engineError(
  host: HostName,
  doing: string,
  error: unknown,
  hint?: string,
): StepError {
  if (error instanceof StepError) return error
  const status = statusOf(error)
  if (status === undefined) return unreachable(host, error)
  return new StepError(
    byStatus[status] ?? 'COMMAND_FAILED',
    `host ${host.name}: ${doing}: ${messageOf(error)}`,
    {
      hint: hint ?? (status === 503 ? 'Wait a little and run the command again.' : undefined),
      cause: error,
    },
  )
}

/** The engine's own words, without what dockerode puts around them. */
export function messageOf(error: unknown): string {
  const json = (error as { json?: { message?: unknown } | null }).json
  if (typeof json?.message === 'string') return json.message.trim()
  return describe(error)
    .replace(/^\(HTTP code \d+\) [^-]* - /, '')
    .trim()
}

/** Why a request was aborted: a signal, or its own time limit; any other error as it is. */
function abortReason(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== 'AbortError') return error
  return error.cause ?? error
}

function unreachable(host: HostName, error: unknown): StepError {
  const where = `host ${host.name} (${host.address})`
  const reason = abortReason(error)
  if (reason instanceof StepError) return reason
  const name = reason instanceof Error ? reason.name : ''
  if (name === 'AbortError') {
    return new StepError('CANCELLED', `${where}: cancelled`, { cause: error })
  }
  const code = errorCodeOf(error)
  if (name === 'TimeoutError') {
    return new StepError('UNAVAILABLE', `${where}: does not answer in time`, {
      hint: 'See whether the machine and its Docker Engine are alive, then run the command again.',
      cause: error,
    })
  }
  if (code === 'EACCES') {
    return new StepError('UNAUTHORIZED', `${where}: this user may not open the socket`, {
      hint: 'Run as a member of the group docker.',
      cause: error,
    })
  }
  if (code !== undefined && /CERT|SSL|TLS|SIGNATURE|ISSUER/.test(code)) {
    return new StepError('UNAUTHORIZED', `${where}: TLS failed: ${code}`, {
      hint: 'See that ca.pem, cert.pem and key.pem belong to this host and have not expired.',
      cause: error,
    })
  }
  const why = code === SSH_FAILED ? describe(error) : (code ?? describe(error))
  return new StepError('UNAVAILABLE', `${where}: does not answer: ${why}`, {
    hint:
      code === SSH_FAILED
        ? 'Try the same by hand: ssh to this host and run docker version.'
        : 'See whether its Docker Engine runs and is reachable from here, then run the command again.',
    cause: error,
  })
}

/**
 * A pull's error. The engine reports most of them as plain text, inside a stream that began with
 * status 200 or as a 500, so here its words must decide.
 */
export function pullError(
  host: HostName,
  image: string,
  message: string,
  cause?: unknown,
): StepError {
  const [code, hint] = pullMeaning(message)
  return new StepError(code, `host ${host.name}: pulling ${image}: ${message}`, { hint, cause })
}

function pullMeaning(message: string): [ErrorCode, string] {
  if (/unauthorized|authentication required|denied|no basic auth/i.test(message)) {
    return ['UNAUTHORIZED', 'Give this registry a user and password that may read the repository.']
  }
  if (/manifest unknown|not found|name unknown|does not exist/i.test(message)) {
    return ['NOT_FOUND', "See that the release was pushed to this environment's repository."]
  }
  if (/no space left/i.test(message)) {
    return ['COMMAND_FAILED', 'The host has no room. Remove old images: docker image prune.']
  }
  if (/x509|certificate|HTTP response to HTTPS client/i.test(message)) {
    return ['COMMAND_FAILED', "The host's engine must trust this registry: /etc/docker/certs.d."]
  }
  if (
    /connection|timeout|timed out|no such host|EOF|reset|refused|toomanyrequests|50\d/i.test(
      message,
    )
  ) {
    return ['UNAVAILABLE', 'The host cannot reach the registry now. Run the command again.']
  }
  return ['COMMAND_FAILED', 'Pull the image by hand on that host to see more.']
}

/** A container that did not start. Taken ports come as a 500, recognized by the engine's words only. */
export function startError(host: HostName, container: string, error: unknown): StepError {
  if (error instanceof StepError) return error
  const words = statusOf(error) === undefined ? '' : messageOf(error)
  if (!/port is already allocated|address already in use/i.test(words)) {
    return engineError(host, `starting ${container}`, error)
  }
  const port = /[\d.\]]:(\d+)(?::| failed|$)/.exec(words)?.[1]
  return portTaken(host.name, container, port, error)
}

export function portTaken(
  host: string,
  container: string,
  port: number | string | undefined,
  cause?: unknown,
): StepError {
  return new StepError(
    'CONFLICT',
    `host ${host}: starting ${container}: port ${port ?? ''} is taken`.replace('  ', ' '),
    {
      hint: `Find who holds it: \`docker ps --filter publish=${port ?? 'PORT'}\`, or \`ss -ltnp\`. Stop that, or choose another port.`,
      cause,
    },
  )
}
