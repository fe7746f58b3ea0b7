import { describe, StepError } from '../../../core/errors.ts'
import type { EtcdAddress } from './url.ts'

/** What an error means for the caller. */
export type EtcdError =
  | 'transient'
  | 'too-large'
  | 'compacted'
  | 'stale-token'
  | 'unauthenticated'
  | 'no-auth'
  | 'denied'
  | 'request-too-large'
  | 'other'

/**
 * By gRPC's status (grpc/doc/statuscodes.md); INVALID_ARGUMENT, 3, is distinguished by its text.
 */
const BY_STATUS: Record<number, EtcdError> = {
  1: 'transient',
  2: 'transient',
  4: 'transient',
  7: 'denied',
  8: 'too-large',
  9: 'no-auth',
  10: 'transient',
  11: 'compacted',
  13: 'transient',
  14: 'transient',
  15: 'transient',
  16: 'unauthenticated',
}

export function etcdErrorOf(error: unknown): EtcdError {
  const message = describe(error)
  // etcd3 keeps the status nowhere else: `14 UNAVAILABLE: …`.
  const status = Number(/^(\d+) [A-Z_]+: /.exec(message)?.[1])
  if (status !== 3) return BY_STATUS[status] ?? 'other'
  // All of these share the status (etcd, rpctypes/error.go).
  if (/revision of auth store is old/.test(message)) return 'stale-token'
  if (/authentication failed|user name is empty/.test(message)) return 'unauthenticated'
  if (/request is too large/.test(message)) return 'request-too-large'
  return 'other'
}

/** Anything etcd or its connection throws, as an error that begins with `name`. */
export function etcdError(
  name: string,
  address: EtcdAddress,
  right: 'read' | 'readwrite',
  thrown: unknown,
): StepError {
  if (thrown instanceof StepError) return thrown
  const message = describe(thrown)
  const errorOf = (code: 'UNAVAILABLE' | 'UNAUTHORIZED' | 'COMMAND_FAILED', hint: string) =>
    new StepError(code, `${name}: ${message}`, { hint, cause: thrown })
  switch (etcdErrorOf(thrown)) {
    case 'denied':
      return errorOf('UNAUTHORIZED', rightsHint(address, right))
    case 'unauthenticated':
    case 'stale-token':
      return address.auth
        ? errorOf('UNAUTHORIZED', 'Check user and password in the URL of the config centre.')
        : errorOf('UNAUTHORIZED', 'This etcd wants a user: etcd://user:password@host:2379.')
    case 'no-auth':
      return errorOf(
        'UNAUTHORIZED',
        'This etcd knows no users: take user and password out of the URL, or enable auth there.',
      )
    case 'too-large':
      return errorOf(
        'UNAVAILABLE',
        'etcd is full or has too much to do: compact and defragment it.',
      )
    case 'request-too-large':
      return errorOf(
        'COMMAND_FAILED',
        'Start `etcd --max-request-bytes 1572864`, or with a larger number.',
      )
    case 'transient':
    case 'compacted':
      return errorOf('UNAVAILABLE', connectionHint(address, message))
    default:
      return errorOf('COMMAND_FAILED', 'crosscloud needs etcd 3.4 or newer, with its usual limits.')
  }
}

function rightsHint({ prefix, auth }: EtcdAddress, right: string): string {
  const account = auth ? `The user ${auth.username}` : 'This account'
  const path = `${prefix}/`
  return `${account} needs the right ${right} on all keys below ${path}: \`etcdctl role grant-permission ROLE ${right} --prefix=true ${path}\``
}

/** gRPC reports TLS errors as text only. */
function connectionHint({ tls }: EtcdAddress, message: string): string {
  if (tls && /certificate|\bca\b|ssl|tls|handshake|alert|altnames|EPROTO/i.test(message)) {
    return 'Check ca:, cert: and key: of this config centre, and the name in the certificate of the server.'
  }
  return tls
    ? 'Check that etcd runs, that this machine reaches it, and that it speaks TLS with these certificates.'
    : 'Check that etcd runs and has a leader, that this machine reaches it, and whether it wants TLS (etcds://).'
}
