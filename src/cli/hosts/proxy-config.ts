import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { CommandResult } from '../command.ts'

export const PROXIES = ['nginx', 'haproxy', 'apache'] as const
type ProxyKind = (typeof PROXIES)[number]

/** What operators paste into their proxy once: the servers of an environment, filled in. */
export async function printProxyConfig(
  wanted: string | undefined,
  environment: EnvironmentSettings,
  context: Context,
): Promise<CommandResult> {
  const kind = readKind(wanted ?? (environment.proxy?.haproxy ? 'haproxy' : 'nginx'))
  const { app } = await context.settings()
  const snippets = await snippetsOf(kind, app, environment)
  const shown = snippets.map(({ place, text }) => `# ${kind}: ${place}\n${text}`)
  return { json: { kind, snippets }, text: shown.join('\n').trimEnd(), document: true }
}

function readKind(text: string): ProxyKind {
  const kind = PROXIES.find((each) => each === text)
  if (kind) return kind
  throw new StepError('INPUT_INVALID', `there is no proxy-config for "${text}"`, {
    hint: `Known: ${PROXIES.join(', ')}.`,
  })
}

async function snippetsOf(kind: ProxyKind, app: string, environment: EnvironmentSettings) {
  const name = `${app}-${environment.name}`
  const owner = { application: app, environment: environment.name }
  const { container, proxy, proxyServers: servers } = environment
  const options = { name, servers }
  const { apacheSnippets, haproxySnippets, nginxSnippets } = await import(
    '../../proxies/snippets.ts'
  )
  if (kind === 'apache') return apacheSnippets(options)
  if (kind === 'nginx') {
    const { folder, sessions, upstream = name } = proxy?.nginx ?? {}
    return nginxSnippets({ ...options, name: upstream, folder, sessions, owner })
  }
  const { backend = name, 'state-file': stateFile, socket } = proxy?.haproxy ?? {}
  const path = socket && 'socket' in socket ? socket.socket : undefined
  const runtime = path && stateFile ? { socket: path, stateFile } : undefined
  const health =
    container.health && 'http' in container.health ? container.health.http.path : undefined
  return haproxySnippets({ ...options, name: backend, health, runtime })
}
