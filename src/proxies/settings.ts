import { z } from 'zod'
import { parsed, waitingTime } from '../core/settings/schema.ts'
import { parseAddress } from '../targets/docker/address.ts'
import { commandSettings } from './commands/settings.ts'
import { parseSocketAddress } from './haproxy/address.ts'

/** A name that nginx and HAProxy take as it is, in any place. */
const configName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/, 'is not a name; use letters, digits and . _ -')

/** A path at the proxy; it goes into commands and configuration. */
const path = z
  .string()
  .regex(
    /^(?:\/(?!\.{1,2}(?:\/|$))[\w.@+-]+)+$/,
    'is not an absolute path of letters, digits and . _ @ + -, without "." and ".." as parts',
  )

const argv = z.tuple([z.string().min(1)], z.string())

const nginxSettings = z
  .strictObject({
    at: parsed(parseAddress)
      .optional()
      .describe(
        'Where nginx runs: ssh://user@lb-01, or with `container` its Docker Engine; default: this machine',
      ),
    container: configName.optional().describe('The container that nginx runs in'),
    certificates: z
      .string()
      .optional()
      .describe("Folder with ca.pem, cert.pem and key.pem, for the engine's TLS"),
    folder: path.describe('Folder of our own that its configuration includes as FOLDER/*.conf'),
    upstream: configName.optional().describe('Name of the upstream; default <app>-<environment>'),
    status: z
      .string()
      .regex(/^https?:\/\/[^\s@]+$/, 'is no URL; write http://lb-01/.crosscloud/NAME')
      .describe('URL of the location that serves the generation back'),
    sessions: z
      .enum(['cookie', 'ip-hash', 'none'])
      .default('none')
      .describe('What keeps an HTTP session where it began'),
    command: argv
      .default(['nginx'])
      .describe('How nginx is called, one element each: [sudo, -n, /usr/sbin/nginx]'),
    'pid-file': path.default('/run/nginx.pid').describe("nginx's pid file"),
  })
  .check(({ value: { at, container, certificates }, issues }) => {
    const report = (key: string, message: string) =>
      issues.push({ code: 'custom', input: key, path: [key], message })
    if (container !== undefined && at === undefined) {
      report('container', 'needs the Docker Engine it runs on: at: unix:///var/run/docker.sock')
    }
    if (container === undefined && at !== undefined && at.kind !== 'ssh') {
      report('at', 'is a Docker Engine: name the container, or write ssh://user@host')
    }
    if (certificates !== undefined && at?.kind !== 'tcp') {
      report('certificates', 'are for an engine at tcp://')
    }
  })

export type NginxSettings = z.output<typeof nginxSettings>

const haproxySettings = z
  .strictObject({
    socket: parsed(parseSocketAddress).describe(
      'Its runtime API, level admin: unix:///run/haproxy/admin.sock, tcp://lb-01:9999, or ssh://user@lb-01/run/haproxy/admin.sock',
    ),
    backend: configName.optional().describe('Name of the backend; default <app>-<environment>'),
    'state-file': path
      .optional()
      .describe('Its server-state-file, written after each change, so that a reload keeps it'),
  })
  .check(({ value: { socket, 'state-file': file }, issues }) => {
    if (file === undefined || socket.kind !== 'tcp') return
    const message =
      'cannot be written by way of tcp://: use ssh://, or ExecReload (docs/proxies.md)'
    issues.push({ code: 'custom', input: file, path: ['state-file'], message })
  })

export type HaproxySettings = z.output<typeof haproxySettings>

const KINDS = ['nginx', 'haproxy', 'commands'] as const

/** `proxy:` of an environment in crosscloud.yml. */
export const proxySettings = z
  .strictObject({
    nginx: nginxSettings.optional().describe('nginx, by an include folder of our own'),
    haproxy: haproxySettings.optional().describe('HAProxy, by its runtime API'),
    commands: commandSettings.optional().describe('Anything else, by commands of your own'),
    drain: waitingTime
      .default(30_000)
      .describe('How long a server that was taken out may take to end its requests'),
  })
  .check(({ value, issues }) => {
    const given = KINDS.filter((kind) => value[kind] !== undefined)
    if (given.length === 1) return
    const message =
      given.length === 0
        ? `names no proxy; write exactly one of ${KINDS.join(', ')}`
        : `names ${given.join(' and ')}; write exactly one`
    issues.push({ code: 'custom', input: 'proxy', path: [], message })
  })

export type ProxySettings = z.output<typeof proxySettings>
