import { StepError } from '../../../core/errors.ts'
import { keyProblem } from '../keys.ts'

/** A parsed etcd URL. Holds the password: never print it. */
export interface EtcdAddress {
  tls: boolean
  /** `host:port` of some members. */
  hosts: string[]
  auth: { username: string; password: string } | undefined
  /** Precedes every key: `/prod`, or empty. */
  prefix: string
  /** The URL without user and password. */
  name: string
}

const SHAPE = /^(etcds?):\/\/(?:([^:@/?#]+):([^@/?#]+)@)?([^@/?#]+)(\/[^?#]*)?$/
const PORT = 2379

/** Reads `etcd://[user:password@]host:2379[,host:2379][/prefix]`; INPUT_INVALID for any other. */
export function parseEtcdUrl(url: string): EtcdAddress {
  const [, scheme, user, password, hosts = '', path = ''] = SHAPE.exec(url) ?? []
  const members = hosts.split(',').map(readMember)
  const prefix = decode(path).replace(/\/$/, '')
  if (
    scheme === undefined ||
    members.includes(undefined) ||
    (prefix !== '' && keyProblem(prefix) !== undefined)
  ) {
    throw unreadable()
  }
  return {
    tls: scheme === 'etcds',
    hosts: members.filter((member) => member !== undefined),
    auth:
      user === undefined || password === undefined
        ? undefined
        : { username: decode(user), password: decode(password) },
    prefix,
    name: `${scheme}://${hosts}${path}`,
  }
}

function readMember(text: string): string | undefined {
  const [, host, port = PORT] = /^(\[[\da-f:]+\]|[\w.-]+)(?::(\d{1,5}))?$/i.exec(text) ?? []
  const number = Number(port)
  return host === undefined || number < 1 || number > 65535 ? undefined : `${host}:${number}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw unreadable()
  }
}

function unreadable(): StepError {
  return new StepError('INPUT_INVALID', 'the URL of the config centre is not one of etcd', {
    hint: 'Write etcd://user:password@host:2379,host:2379/prefix, or etcds:// for TLS; percent-encode what is special in a password.',
  })
}
