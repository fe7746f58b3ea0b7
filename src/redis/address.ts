import { StepError } from '../core/errors.ts'

interface Node {
  host: string
  port: number
}

/** A parsed Redis URL. Holds the password: never print it. */
export interface RedisAddress {
  kind: 'single' | 'unix' | 'sentinel' | 'cluster'
  tls: boolean
  username: string | undefined
  password: string | undefined
  /** The server, the Sentinels, or some nodes of the cluster. */
  nodes: Node[]
  socket: string | undefined
  /** The master's name in the Sentinels. */
  master: string | undefined
  db: number
  /** The URL without user and password. */
  name: string
}

const SHAPE =
  /^(rediss?)(?:\+(unix|sentinel|cluster))?:\/\/(?:([^:@/?]*)(?::([^@/?]*))?@)?([^/?@]*)(\/[^?]*)?(?:\?([^#]*))?$/

/** Reads the forms that docs/config.md lists; INPUT_INVALID, without the password, for any other. */
export function parseRedisUrl(url: string): RedisAddress {
  const [, scheme = '', form, user, password, hosts = '', path = '', query] = SHAPE.exec(url) ?? []
  const kind = (form ?? 'single') as RedisAddress['kind']
  const name = `${scheme}${form ? `+${form}` : ''}://${hosts}${path}${query ? `?${query}` : ''}`
  const nodes = hosts.split(',').map((host) => readNode(host, kind === 'sentinel' ? 26379 : 6379))
  const [first = '', second, ...more] = path.split('/').slice(1)
  const fromQuery = /^db=(\d+)$/.exec(query ?? '')?.[1]
  const db = { single: first, unix: fromQuery ?? '', sentinel: second ?? '', cluster: '' }[kind]
  const valid =
    scheme !== '' &&
    /^\d{0,4}$/.test(db) &&
    (query === undefined || (kind === 'unix' && fromQuery !== undefined)) &&
    (kind === 'unix'
      ? hosts === '' && path.length > 1
      : nodes.every((node) => node !== undefined)) &&
    (kind !== 'single' || (nodes.length === 1 && second === undefined)) &&
    (kind !== 'sentinel' || (first !== '' && more.length === 0)) &&
    (kind !== 'cluster' || path.length <= 1)
  if (!valid) throw unreadable()
  return {
    kind,
    tls: scheme === 'rediss',
    username: decode(user) || undefined,
    password: decode(password),
    nodes: kind === 'unix' ? [] : nodes.filter((node) => node !== undefined),
    socket: kind === 'unix' ? path : undefined,
    master: kind === 'sentinel' ? first : undefined,
    db: Number(db || 0),
    name,
  }
}

function readNode(text: string, standard: number): Node | undefined {
  const [, ipv6, host, port] = /^(?:\[([\da-f:]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(text) ?? []
  const name = ipv6 ?? host
  const number = Number(port ?? standard)
  return name === undefined || number < 1 || number > 65535
    ? undefined
    : { host: name, port: number }
}

function decode(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    throw unreadable()
  }
}

function unreadable(): StepError {
  return new StepError('INPUT_INVALID', 'the URL of the config centre is not one of Redis', {
    hint: 'Write redis://user:password@host:6379/0; percent-encode what is special in a password. docs/config.md lists all forms.',
  })
}
