import { isIP } from 'node:net'
import { StepError } from '../../core/errors.ts'
import type { ProxyServer } from '../../targets/proxy.ts'
import { endpointOf, serverName } from '../driver.ts'

/** Where a person's HTTP session stays: by a cookie, by the client's address, or anywhere. */
export type Sessions = 'cookie' | 'ip-hash' | 'none'

/** Whose servers they are: two of these may well have one name, like a-b in c and a in b-c. */
export interface Owner {
  application: string
  environment: string
}

export interface IncludedServer {
  server: ProxyServer
  isIn: boolean
  /** percent */
  weight: number
}

/** The file that is ours: the upstream of one application in one environment. */
export interface Include {
  upstream: string
  sessions: Sessions
  /** Counts the versions of the file; nginx serves it back, which proves the reload. */
  generation: number
  servers: readonly IncludedServer[]
  owner?: Owner | undefined
}

/** The names of variables, as nginx reads them, from the upstream's name. */
export function variablesOf(upstream: string) {
  const prefix = upstream.replaceAll(/[^a-z0-9]/gi, '_')
  return {
    generation: `${prefix}_generation`,
    connection: `${prefix}_connection`,
    /** The group of servers for this request, and what to say in Set-Cookie; with `cookie` only. */
    group: `${prefix}_group`,
    cookie: `${prefix}_cookie`,
    used: `${prefix}_used`,
    cookieName: `${prefix}_server`,
  }
}

/** What `proxy_pass` names. */
export function groupOf({ upstream, sessions }: Pick<Include, 'upstream' | 'sessions'>): string {
  return sessions === 'cookie' ? `$${variablesOf(upstream).group}` : upstream
}

const HEADING =
  '# Written by crosscloud. What is changed here by hand is lost with the next deployment.'

/** The whole file. */
export function renderInclude(include: Include): string {
  const { upstream, generation, owner } = include
  const whose = owner ? `# of ${owner.application} in ${owner.environment}\n` : ''
  const served = `map $host $${variablesOf(upstream).generation} {\n  default ${generation};\n}\n`
  return `${HEADING}\n${whose}# generation ${generation}\n${renderUpstream(include)}${served}`
}

/** The part of it that a proxy without a driver needs, too. */
export function renderUpstream(include: Omit<Include, 'generation' | 'owner'>): string {
  const { upstream, servers, sessions } = include
  const lines = [
    `upstream ${upstream} {`,
    ...(sessions === 'ip-hash' ? ['  ip_hash;'] : []),
    ...servers.map(serverLine),
    ...KEPT_CONNECTIONS,
    '}',
    ...(sessions === 'cookie' ? stickyLines(include) : []),
  ]
  return `${lines.join('\n')}\n`
}

/** Connections to Tomcat close before Tomcat closes them, so that no request meets a closed one. */
const KEPT_CONNECTIONS = ['  keepalive 32;', '  keepalive_timeout 5s;']

/** With max_fails nginx would shut a booting server out for seconds, and then have none left. */
function serverLine({ server, isIn, weight }: IncludedServer): string {
  const line = `  server ${endpointOf(server)} weight=${weight} max_fails=0${isIn ? '' : ' down'};`
  return `${line} # ${serverName(server)}`
}

/**
 * A cookie names the server that responded. Requests with it go to a group of which that server is
 * the first and the others are in reserve.
 */
function stickyLines({ upstream, servers }: Omit<Include, 'generation'>): string[] {
  const names = variablesOf(upstream)
  const serving = servers.filter(({ isIn }) => isIn)
  const groups = serving.flatMap((each) => [
    `upstream ${upstream}-${serverName(each.server)} {`,
    serverLine(each),
    ...serving.filter((other) => other !== each).map(reserveLine),
    ...KEPT_CONNECTIONS,
    '}',
  ])
  const ofCookie = serving.map(
    ({ server }) => `  ${serverName(server)} ${upstream}-${serverName(server)};`,
  )
  const ofAddress = servers.map(
    ({ server }) => `  "~(^|[ ,])${addressPattern(server)}\\|.*\\d$" ${serverName(server)};`,
  )
  return [
    ...groups,
    `map $cookie_${names.cookieName} $${names.group} {`,
    `  default ${upstream};`,
    ...ofCookie,
    '}',
    '# The last of the addresses has responded, if the last of the times is a number: of a 502 it is -.',
    `map "$upstream_addr|$upstream_header_time" $${names.used} {`,
    '  default "";',
    ...ofAddress,
    '}',
    '# An empty value adds no header.',
    `map "$cookie_${names.cookieName}:$${names.used}" $${names.cookie} {`,
    `  default "${names.cookieName}=$${names.used}; Path=/; HttpOnly; SameSite=Lax";`,
    '  "~^(.+):\\1$" "";',
    '  "~:$" "";',
    '}',
  ]
}

const reserveLine = ({ server }: IncludedServer) =>
  `  server ${endpointOf(server)} max_fails=0 backup;`

function addressPattern(server: ProxyServer): string {
  if (isIP(server.address) === 0) {
    throw new StepError(
      'INPUT_INVALID',
      `${serverName(server)}: nginx recognizes its sessions by IP address, and ${server.address} is a name`,
      { hint: "Give the host's IP address, or keep sessions by ip-hash." },
    )
  }
  return endpointOf(server).replaceAll(/[.[\]]/g, '\\$&')
}

export interface ReadInclude {
  generation: number
  /** By endpoint: `10.0.0.11:18081`. */
  servers: ReadonlyMap<string, { isIn: boolean; weight: number }>
  /** Undefined in a file that is older than this line of it. */
  owner: Owner | undefined
}

/** The file as it was last written; undefined when it is not one of ours. */
export function parseInclude(text: string, upstream: string): ReadInclude | undefined {
  const [, number] = /^# generation (\d+)$/m.exec(text) ?? []
  const start = text.indexOf(`\nupstream ${upstream} {\n`)
  if (number === undefined || start < 0) return undefined
  const block = text.slice(start + 1, text.indexOf('\n}', start + 1))
  const servers = new Map<string, { isIn: boolean; weight: number }>()
  for (const [, endpoint = '', weight, down] of block.matchAll(
    /^ {2}server (\S+) weight=(\d+) max_fails=0( down)?;/gm,
  )) {
    servers.set(endpoint, { isIn: down === undefined, weight: Number(weight) })
  }
  const [, application = '', environment = ''] = /^# of (\S+) in (\S+)$/m.exec(text) ?? []
  const owner = application === '' ? undefined : { application, environment }
  return { generation: Number(number), servers, owner }
}
