import { describe, StepError } from '../../../core/errors.ts'
import type { EtcdAddress } from './url.ts'

/** What a fault means to us. */
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

/** By gRPC's status (grpc/doc/statuscodes.md); INVALID_ARGUMENT, 3, is looked at more closely. */
const FAULTS: Record<number, EtcdError> = {
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

export function faultOf(error: unknown): EtcdError {
  const said = describe(error)
  // etcd3 keeps the status nowhere else: `14 UNAVAILABLE: …`.
  const status = Number(/^(\d+) [A-Z_]+: /.exec(said)?.[1])
  if (status !== 3) return FAULTS[status] ?? 'other'
  // All of these have the one status (etcd, rpctypes/error.go).
  if (/revision of auth store is old/.test(said)) return 'stale-token'
  if (/authentication failed|user name is empty/.test(said)) return 'unauthenticated'
  if (/request is too large/.test(said)) return 'request-too-large'
  return 'other'
}

/** Anything etcd or its connection throws, told with the store's name; never a missing key. */
export function etcdError(
  name: string,
  address: EtcdAddress,
  right: 'read' | 'readwrite',
  thrown: unknown,
): StepError {
  if (thrown instanceof StepError) return thrown
  const said = describe(thrown)
  const tell = (code: 'UNAVAILABLE' | 'UNAUTHORIZED' | 'COMMAND_FAILED', hint: string) =>
    new StepError(code, `${name}: ${said}`, { hint, cause: thrown })
  switch (faultOf(thrown)) {
    case 'denied':
      return tell('UNAUTHORIZED', rightsHint(address, right))
    case 'unauthenticated':
    case 'stale-token':
      return address.auth
        ? tell('UNAUTHORIZED', 'Check user and password in the URL of the config centre.')
        : tell('UNAUTHORIZED', 'This etcd wants a user: etcd://user:password@host:2379.')
    case 'no-auth':
      return tell(
        'UNAUTHORIZED',
        'This etcd knows no users: take user and password out of the URL, or enable auth there.',
      )
    case 'too-large':
      return tell('UNAVAILABLE', 'etcd is full or has too much to do: compact and defragment it.')
    case 'request-too-large':
      return tell(
        'COMMAND_FAILED',
        'Start `etcd --max-request-bytes 1572864`, or with a larger number.',
      )
    case 'transient':
    case 'compacted':
      return tell('UNAVAILABLE', connectionHint(address, said))
    default:
      return tell('COMMAND_FAILED', 'crosscloud needs etcd 3.4 or newer, with its usual limits.')
  }
}

function rightsHint({ prefix, auth }: EtcdAddress, right: string): string {
  const account = auth ? `The user ${auth.username}` : 'This account'
  const path = `${prefix}/`
  return `${account} needs the right ${right} on all keys below ${path}: \`etcdctl role grant-permission ROLE ${right} --prefix=true ${path}\``
}

/** gRPC tells faults of TLS in words only. */
function connectionHint({ tls }: EtcdAddress, said: string): string {
  if (tls && /certificate|\bca\b|ssl|tls|handshake|alert|altnames|EPROTO/i.test(said)) {
    return 'Check ca:, cert: and key: of this config centre, and the name in the certificate of the server.'
  }
  return tls
    ? 'Check that etcd runs, that this machine reaches it, and that it speaks TLS with these certificates.'
    : 'Check that etcd runs and has a leader, that this machine reaches it, and whether it wants TLS (etcds://).'
}
