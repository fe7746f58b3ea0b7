import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCodeOf, isStepError, StepError, toStepError } from '../core/errors.ts'
import type { run } from '../core/process/process.ts'
import type { Secrets } from '../core/secrets.ts'

export type Credential = { username: string; password: string } | { identityToken: string }

/** Who we are at a registry (`host` or `host:port`). Undefined: nobody, which may be enough to pull. */
export interface CredentialSource {
  find(registry: string): Promise<Credential | undefined>
}

export interface CredentialOptions {
  env: Readonly<Record<string, string | undefined>>
  /** The user's home folder. */
  home: string
  run: typeof run
  secrets: Secrets
}

/** What we read of docker's config.json. */
interface DockerConfig {
  /** Where it came from, for messages. */
  origin: string
  auths: Record<string, Record<string, unknown>>
  credHelpers: Record<string, unknown>
  credsStore: string | undefined
}

const HUB_HOSTS: readonly string[] = ['docker.io', 'index.docker.io', 'registry-1.docker.io']
const HUB_KEY = 'https://index.docker.io/v1/'

/**
 * Logins as docker keeps them. `DOCKER_AUTH_CONFIG` (GitLab's convention) comes first, then
 * `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`; in each: credHelpers, credsStore, auths.
 * A helper that fails is an error; one that has no login for the registry is not.
 */
export function createCredentials(options: CredentialOptions): CredentialSource {
  const { env, home } = options
  const found = new Map<string, Promise<Credential | undefined>>()
  let configs: Promise<DockerConfig[]> | undefined
  const load = () => {
    const folder = env.DOCKER_CONFIG || join(home, '.docker')
    configs ??= loadConfigs(env.DOCKER_AUTH_CONFIG, join(folder, 'config.json'))
    return configs
  }
  const search = async (registry: string): Promise<Credential | undefined> => {
    for (const config of await load()) {
      const credential = await findIn(config, registry, options)
      if (credential) return credential
    }
    return undefined
  }
  return {
    find(registry) {
      const known = found.get(registry)
      if (known) return known
      const searching = search(registry)
      found.set(registry, searching)
      searching.catch(() => {
        found.delete(registry)
        configs = undefined
      })
      return searching
    },
  }
}

async function loadConfigs(inline: string | undefined, path: string): Promise<DockerConfig[]> {
  const configs: DockerConfig[] = []
  if (inline?.trim()) configs.push(parseConfig('DOCKER_AUTH_CONFIG', inline))
  try {
    configs.push(parseConfig(path, await readFile(path, 'utf8')))
  } catch (error) {
    if (errorCodeOf(error) !== 'ENOENT' && errorCodeOf(error) !== 'ENOTDIR')
      throw toStepError(error)
  }
  return configs
}

/** The text is never quoted in an error: it holds passwords. */
function parseConfig(origin: string, text: string): DockerConfig {
  const bad = (why: string) =>
    new StepError('INPUT_INVALID', `${origin}: ${why}`, {
      hint: 'It must be the content of docker\'s config.json: { "auths": { … } }.',
    })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('is not JSON')
  }
  if (!isObject(value)) throw bad('is not a JSON object')
  const { auths = {}, credHelpers = {}, credsStore } = value
  if (!isObject(auths)) throw bad('"auths" is not an object')
  if (!isObject(credHelpers)) throw bad('"credHelpers" is not an object')
  if (credsStore !== undefined && typeof credsStore !== 'string') {
    throw bad('"credsStore" is not a text')
  }
  const entries = Object.entries(auths).map(([key, entry]) => [key, isObject(entry) ? entry : {}])
  return {
    origin,
    auths: Object.fromEntries(entries) as DockerConfig['auths'],
    credHelpers,
    credsStore: credsStore || undefined,
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

async function findIn(
  config: DockerConfig,
  registry: string,
  options: CredentialOptions,
): Promise<Credential | undefined> {
  const helperKey = findKey(config.credHelpers, registry)
  if (helperKey !== undefined) {
    const helper = String(config.credHelpers[helperKey])
    return askHelper(config.origin, helper, helperKey, options)
  }
  if (config.credsStore !== undefined) {
    const server = HUB_HOSTS.includes(registry) ? HUB_KEY : registry
    const credential = await askHelper(config.origin, config.credsStore, server, options)
    if (credential) return credential
  }
  const key = findKey(config.auths, registry)
  const entry = key === undefined ? undefined : config.auths[key]
  return entry && readEntry(`${config.origin}: auths["${key}"]`, entry, options.secrets)
}

/** The entry of exactly this host: by its plain name, else in one of docker's older spellings. */
function findKey(entries: object, registry: string): string | undefined {
  const keys = Object.keys(entries)
  const names = HUB_HOSTS.includes(registry) ? HUB_HOSTS : [registry]
  return (
    keys.find((key) => names.includes(key)) ??
    keys.find((key) => names.includes(hostOfKey(key) ?? ''))
  )
}

/** `https://host/v1/` and its kin. A path that is a namespace (podman's form) is not for all of a host. */
function hostOfKey(key: string): string | undefined {
  return /^(?:https?:\/\/)?([^/]+)(?:\/(?:v[12]\/?)?)?$/.exec(key)?.[1]
}

function readEntry(
  what: string,
  entry: Record<string, unknown>,
  secrets: Secrets,
): Credential | undefined {
  const { auth, username, password, identitytoken } = entry
  if (typeof identitytoken === 'string' && identitytoken) {
    secrets.add(identitytoken)
    return { identityToken: identitytoken }
  }
  if (typeof auth === 'string' && auth) {
    secrets.add(auth)
    const pair = Buffer.from(auth, 'base64').toString()
    const colon = pair.indexOf(':')
    if (colon <= 0) {
      throw new StepError('INPUT_INVALID', `${what}: "auth" is not base64 of user:password`, {
        hint: 'Run docker login for this registry again.',
      })
    }
    // Docker itself has padded passwords with NULs.
    return login(pair.slice(0, colon), pair.slice(colon + 1).replace(/\0+$/, ''), secrets)
  }
  if (typeof username === 'string' && username && typeof password === 'string') {
    return login(username, password, secrets)
  }
  return undefined
}

function login(username: string, password: string, secrets: Secrets): Credential {
  secrets.add(password)
  secrets.add(Buffer.from(`${username}:${password}`).toString('base64'))
  return { username, password }
}

/** https://github.com/docker/docker-credential-helpers: the server on stdin, JSON on stdout. */
async function askHelper(
  origin: string,
  helper: string,
  server: string,
  { env, run, secrets }: CredentialOptions,
): Promise<Credential | undefined> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(helper)) {
    throw new StepError(
      'INPUT_INVALID',
      `${origin}: "${helper}" is not a credential helper's name`,
      {
        hint: 'Write "pass" for the program docker-credential-pass.',
      },
    )
  }
  const program = `docker-credential-${helper}`
  let output: string
  try {
    output = (await run(program, ['get'], { input: server, env: { ...env }, timeout: 60_000 }))
      .stdout
  } catch (error) {
    if (saysNotFound(error)) return undefined
    throw helperFailure(`${program} get for ${server} (${origin})`, error, secrets)
  }
  return readHelper(`${program} get for ${server}`, output, secrets)
}

/** The protocol has no code for "none": all helpers print this sentence of its Go library. */
function saysNotFound(error: unknown): boolean {
  if (!isStepError(error, 'COMMAND_FAILED')) return false
  return error.message.includes('credentials not found in native keychain')
}

/** Without the cause: what a helper printed may hold the secret. */
function helperFailure(what: string, error: unknown, secrets: Secrets): StepError {
  const { code, message } = toStepError(error)
  if (code === 'NOT_FOUND') {
    return new StepError('NOT_FOUND', `${what}: no such program`, {
      hint: "Install it, or take it out of docker's config.json and log in again.",
    })
  }
  // The first line of run()'s message names the program, which is known already.
  const [first = '', ...printed] = message.split('\n')
  const reported = secrets.mask(printed.join(' ').trim() || first)
  const shown = reported.includes('"Secret"') ? 'failed' : reported
  return new StepError('COMMAND_FAILED', `${what}: ${shown}`, {
    hint: 'Unlock or repair the credential store, then run the same command again.',
  })
}

function readHelper(what: string, output: string, secrets: Secrets): Credential | undefined {
  const bad = new StepError('COMMAND_FAILED', `${what}: the answer is not a login`, {
    hint: 'It must print JSON with Username and Secret.',
  })
  let value: unknown
  try {
    value = JSON.parse(output)
  } catch {
    throw bad
  }
  if (!isObject(value)) throw bad
  const { Username: username, Secret: secret } = value
  if (typeof username !== 'string' || typeof secret !== 'string') throw bad
  if (!secret) return undefined
  secrets.add(secret)
  return username === '<token>' ? { identityToken: secret } : login(username, secret, secrets)
}
