import { devNull } from 'node:os'
import { gitVariables } from '../../core/git/git.ts'
import type { WorkerEnvironment } from './worker-environment.ts'

/** How git reaches a repository from a server. */
export interface GitAccess {
  /** Without what is secret: a password would show in the list of processes, and stay in the folder. */
  url: string
  /** All that git is started with. */
  env: Readonly<Record<string, string>>
}

/** What git and ssh need to run and to reach a server. */
const NEEDED =
  /^(?:PATH|LANG|LC_\w+|TZ|TMPDIR|(?:HTTPS?|NO|ALL)_PROXY|SSL_CERT_\w+|GIT_SSL_CA(?:INFO|PATH))$/i

/**
 * Neither settings nor credentials of a user or of the machine: `url.*.insteadOf` would send the
 * credential elsewhere. ssh knows its user's folder by itself.
 */
const NOBODY = {
  ...{
    HOME: devNull,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: devNull,
    GIT_ATTR_NOSYSTEM: '1',
  },
  ...{ GIT_TERMINAL_PROMPT: '0', GIT_SSH_COMMAND: 'ssh -oBatchMode=yes' },
}

const SETTINGS: readonly (readonly [string, string])[] = [
  // After a redirect git would go on there, with the credential.
  ['http.followRedirects', 'false'],
  ['core.hooksPath', devNull],
  ['core.fsmonitor', 'false'],
  ['fetch.recurseSubmodules', 'false'],
]

/**
 * The environment for git: fixed, and small. `repository`: the credential of the address goes to that
 * repository alone, and nothing is fetched in another way than it; `host`: to others of its server,
 * in the same way; `anywhere`: to others of its server, and submodules may be elsewhere.
 */
export function gitAccess(
  address: string,
  reach: 'repository' | 'host' | 'anywhere',
  { variables, secrets }: Pick<WorkerEnvironment, 'variables' | 'secrets'>,
): GitAccess {
  const { url, header } = withoutCredentials(address, secrets)
  const places = reach === 'repository' ? placesOf(url) : [`${new URL(url).origin}/`]
  const credential = header === undefined ? [] : places.map((place) => [place, header] as const)
  const settings = [
    ...SETTINGS,
    ...credential.map(([place, text]) => [`http.${place}.extraHeader`, text] as const),
  ]
  const needed = Object.entries(variables).filter(([name]) => NEEDED.test(name))
  const scheme = new URL(url).protocol.slice(0, -1)
  return {
    url,
    env: {
      ...Object.fromEntries(needed),
      ...NOBODY,
      ...gitVariables(url),
      ...(reach !== 'anywhere' && { GIT_ALLOW_PROTOCOL: scheme }),
      GIT_CONFIG_COUNT: String(settings.length),
      ...Object.fromEntries(
        settings.flatMap(([key, value], at) => [
          [`GIT_CONFIG_KEY_${at}`, key],
          [`GIT_CONFIG_VALUE_${at}`, value],
        ]),
      ),
    },
  }
}

/** As Git LFS asks, it always has `.git`. */
function placesOf(url: string): string[] {
  const bare = url.replace(/\/+$/, '')
  return bare.endsWith('.git') ? [bare] : [bare, `${bare}.git`]
}

function withoutCredentials(
  address: string,
  secrets: WorkerEnvironment['secrets'],
): { url: string; header: string | undefined } {
  const url = new URL(address)
  if (!/^https?:$/.test(url.protocol) || `${url.username}${url.password}` === '') {
    return { url: address, header: undefined }
  }
  const [user, password] = [url.username, url.password].map(decodeURIComponent)
  const basic = Buffer.from(`${user}:${password}`).toString('base64')
  // A token may stand alone, in place of the user.
  secrets.add(password || user)
  secrets.add(basic)
  url.username = ''
  url.password = ''
  return { url: url.href, header: `Authorization: Basic ${basic}` }
}
