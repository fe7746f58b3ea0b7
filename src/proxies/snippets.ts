import { isIP } from 'node:net'
import type { ProxyServer } from '../targets/proxy.ts'
import { checkServers, endpointOf, serverName } from './driver.ts'
import {
  groupOf,
  type Owner,
  renderInclude,
  renderUpstream,
  type Sessions,
  variablesOf,
} from './nginx/include.ts'

/** What operators paste into their proxy once, filled in for one environment. */
export interface SnippetOptions {
  /** Of the upstream, backend or balancer: `webapi-production`. */
  name: string
  servers: readonly ProxyServer[]
  /** Milliseconds that the slowest request may take; default five minutes. */
  slowest?: number
}

/** One text, and where it goes. */
export interface Snippet {
  /** For people: `/etc/nginx/crosscloud/webapi-production.conf`, `in http { }`. */
  place: string
  text: string
}

const SLOWEST = 300_000

const secondsOf = ({ slowest = SLOWEST }: SnippetOptions) => Math.ceil(slowest / 1000)

export interface NginxSnippetOptions extends SnippetOptions {
  /** `cookie` needs IP addresses; default: `cookie` where all are, else `ip-hash`. */
  sessions?: Sessions | undefined
  /** The folder of the driver `nginx`; without it the upstream stands in nginx's own files. */
  folder?: string | undefined
  /** Whose file there it is. */
  owner?: Owner | undefined
}

/** The texts of one place belong there in this order. */
export function nginxSnippets(options: NginxSnippetOptions): Snippet[] {
  const { name, servers, folder, owner } = options
  checkServers(servers)
  const areIps = servers.every(({ address }) => isIP(address) !== 0)
  const sessions = options.sessions ?? (areIps ? 'cookie' : 'ip-hash')
  const upstream = name
  const all = servers.map((server) => ({ server, isIn: true, weight: 100 }))
  const file: Snippet =
    folder === undefined
      ? { place: 'in http { }', text: renderUpstream({ upstream, sessions, servers: all }) }
      : {
          place: `${folder}/${name}.conf`,
          text: renderInclude({ upstream, sessions, generation: 1, servers: all, owner }),
        }
  const { connection } = variablesOf(name)
  const http = [
    ...[`map $http_upgrade $${connection} {`, '  default upgrade;', '  "" "";', '}'],
    ...(folder === undefined ? [] : [`include ${folder}/*.conf;`]),
  ]
  return [
    file,
    { place: 'in http { }', text: lines(http) },
    { place: 'in server { }', text: nginxLocations(options, sessions) },
  ]
}

function nginxLocations(options: NginxSnippetOptions, sessions: Sessions): string {
  const { name, folder } = options
  const { generation, connection, cookie } = variablesOf(name)
  const status = [
    `location = /.crosscloud/${name} {`,
    '  default_type text/plain;',
    `  return 200 $${generation};`,
    '}',
  ]
  const cookies = [
    '  # An add_header here replaces those of the levels above: repeat them.',
    `  add_header Set-Cookie $${cookie} always;`,
  ]
  return lines([
    ...(folder === undefined ? [] : status),
    'location / {',
    `  proxy_pass http://${groupOf({ upstream: name, sessions })};`,
    '  proxy_http_version 1.1;',
    '  proxy_set_header Host $host;',
    '  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
    '  proxy_set_header X-Forwarded-Proto $scheme;',
    '  proxy_set_header Upgrade $http_upgrade;',
    `  proxy_set_header Connection $${connection};`,
    '  proxy_connect_timeout 1s;',
    '  # Longer than the slowest request takes.',
    `  proxy_read_timeout ${secondsOf(options)}s;`,
    '  # Without non_idempotent, with which a POST could run twice.',
    '  proxy_next_upstream error timeout;',
    ...(sessions === 'cookie' ? cookies : []),
    '}',
  ])
}

export interface HaproxySnippetOptions extends SnippetOptions {
  /** The path that answers 2xx or 3xx when all is well; without it only the port is checked. */
  health?: string | undefined
  /** For the driver `haproxy`: paths of its socket and of the file that its state is kept in. */
  runtime?: { socket: string; stateFile: string } | undefined
}

export function haproxySnippets(options: HaproxySnippetOptions): Snippet[] {
  const { name, servers, health, runtime } = options
  checkServers(servers)
  const backend = [
    `backend ${name}`,
    '  mode http',
    '  balance roundrobin',
    `  cookie ${variablesOf(name).cookieName} insert indirect nocache httponly attr SameSite=Lax`,
    '  option redispatch 1',
    '  retries 3',
    '  retry-on conn-failure empty-response',
    '  # Only what may run twice is sent again.',
    '  http-request disable-l7-retry unless METH_GET',
    '  # Idle connections would hold up a graceful stop of Tomcat.',
    '  option http-server-close',
    ...(health === undefined ? [] : [`  option httpchk GET ${health}`]),
    '  timeout connect 1s',
    `  timeout server ${secondsOf(options)}s`,
    '  timeout check 3s',
    '  default-server check inter 1s fastinter 300ms fall 3 rise 2 pool-purge-delay 1s weight 100',
    ...servers.map((server) => {
      const of = serverName(server)
      return `  server ${of} ${endpointOf(server)} cookie ${of}`
    }),
  ]
  const kept = runtime && [
    {
      place: 'in global',
      text: lines([
        `stats socket ${runtime.socket} mode 660 level admin`,
        `server-state-file ${runtime.stateFile}`,
      ]),
    },
    { place: 'in defaults', text: lines(['load-server-state-from-file global']) },
  ]
  return [...(kept ?? []), { place: 'in haproxy.cfg', text: lines(backend) }]
}

export function apacheSnippets(options: SnippetOptions): Snippet[] {
  const { name, servers } = options
  checkServers(servers)
  const { cookieName } = variablesOf(name)
  const text = lines([
    `<Proxy "balancer://${name}">`,
    ...servers.map(
      (server) =>
        `  BalancerMember "http://${endpointOf(server)}" route=${serverName(server)} retry=1 connectiontimeout=1 timeout=${secondsOf(options)}`,
    ),
    `  ProxySet maxattempts=1 stickysession=${cookieName}`,
    '</Proxy>',
    `Header add Set-Cookie "${cookieName}=.%{BALANCER_WORKER_ROUTE}e; Path=/; HttpOnly; SameSite=Lax" env=BALANCER_ROUTE_CHANGED`,
    'ProxyPreserveHost On',
    `ProxyPass "/" "balancer://${name}/"`,
    `ProxyPassReverse "/" "balancer://${name}/"`,
  ])
  return [{ place: 'in <VirtualHost>', text }]
}

const lines = (all: readonly string[]) => `${all.join('\n')}\n`
