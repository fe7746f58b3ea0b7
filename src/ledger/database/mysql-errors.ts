import { describe, errorCodeOf, StepError } from '../../core/errors.ts'

/** Deadlock, lock wait, a row that another inserted first, and MariaDB's changed snapshot. */
export function contended(error: unknown): boolean {
  const codes = ['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_DUP_ENTRY', 'ER_CHECKREAD']
  return codes.includes(errorCodeOf(error) ?? '')
}

/** https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html */
export function translateMysql(name: string, error: unknown): StepError | undefined {
  const code = errorCodeOf(error) ?? ''
  const problem = (step: StepError['code'], message: string, hint: string) =>
    new StepError(step, `${name} ${message}`, { hint, cause: error })
  if (contended(error)) {
    return problem('UNAVAILABLE', 'is busy: another process writes the same', 'Run it again.')
  }
  switch (code) {
    case 'ER_ACCESS_DENIED_ERROR':
    case 'ER_DBACCESS_DENIED_ERROR':
    case 'ER_TABLEACCESS_DENIED_ERROR':
    case 'ER_ACCESS_DENIED_NO_PASSWORD_ERROR':
      return problem('UNAUTHORIZED', 'refuses the user', 'Check user, password and grants.')
    case 'ER_BAD_DB_ERROR':
      return problem('NOT_FOUND', 'has no such database', 'Create the database first.')
    case 'ER_DISK_FULL':
    case 'ER_RECORD_FILE_FULL':
      return problem('COMMAND_FAILED', 'cannot grow: its disk is full', 'Free some space there.')
    case 'ER_NET_PACKET_TOO_LARGE':
      return problem('INPUT_INVALID', 'takes no packet as large', 'Raise max_allowed_packet there.')
    case 'ER_CON_COUNT_ERROR':
    case 'ER_SERVER_SHUTDOWN':
    case 'PROTOCOL_CONNECTION_LOST':
    case 'ECONNREFUSED':
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EHOSTUNREACH':
    case 'ETIMEDOUT':
    case 'PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR':
      return problem('UNAVAILABLE', `does not answer: ${describe(error)}`, 'Check the server.')
    case 'HANDSHAKE_NO_SSL_SUPPORT':
      return problem('UNAUTHORIZED', 'speaks no TLS', 'Turn TLS on there, or write mysql://.')
    case 'HANDSHAKE_SSL_ERROR':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'CERT_HAS_EXPIRED':
      return problem(
        'UNAUTHORIZED',
        `has a certificate that is not trusted: ${describe(error)}`,
        'Give the authority that signed it: ledger: { url: mysqls://…, ca: FILE }.',
      )
    default:
      return undefined
  }
}

/** The account may read and write, but not change tables. */
export function refusesChanges(error: unknown): boolean {
  return ['ER_TABLEACCESS_DENIED_ERROR', 'ER_DBACCESS_DENIED_ERROR'].includes(
    errorCodeOf(error) ?? '',
  )
}
