import { constants } from 'node:fs'
import { access, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { describe, explain, StepError, throwIfCancelled } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { type RunOptions, run } from '../core/process/process.ts'
import { wait } from '../core/retry.ts'

/** What the demo, or the project's own tests, may need a machine to have. */
export type Need = 'engine' | 'maven' | 'base' | 'tests' | 'test engines'

/** A package of Debian's, and the program or path by which one sees that it is there. */
interface Provided {
  package: string
  by: string
}

const plugins = '/usr/share/maven-repo/org/apache/maven/plugins'
const provided: Record<Need, readonly Provided[]> = {
  engine: [
    { package: 'docker.io', by: 'dockerd' },
    { package: 'iproute2', by: 'ip' },
  ],
  maven: [
    { package: 'default-jdk-headless', by: 'javac' },
    { package: 'maven', by: 'mvn' },
    { package: 'libmaven-clean-plugin-java', by: `${plugins}/maven-clean-plugin` },
    { package: 'libmaven-compiler-plugin-java', by: `${plugins}/maven-compiler-plugin` },
    { package: 'libmaven-resources-plugin-java', by: `${plugins}/maven-resources-plugin` },
    { package: 'libmaven-war-plugin-java', by: `${plugins}/maven-war-plugin` },
    { package: 'libsurefire-java', by: `${plugins}/maven-surefire-plugin` },
    { package: 'libjakarta-servlet-api-java', by: '/usr/share/maven-repo/jakarta/servlet' },
    { package: 'maven-debian-helper', by: '/usr/share/maven-debian-helper/copy-repo.sh' },
    { package: 'libxml2-utils', by: 'xmllint' },
    { package: 'unzip', by: 'unzip' },
  ],
  base: [{ package: 'debootstrap', by: 'debootstrap' }],
  tests: [
    { package: 'docker-registry', by: 'docker-registry' },
    { package: 'skopeo', by: 'skopeo' },
    { package: 'git', by: 'git' },
    { package: 'git-lfs', by: 'git-lfs' },
    { package: 'mariadb-server', by: 'mariadbd' },
    { package: 'redis-server', by: 'redis-server' },
    { package: 'redis-tools', by: 'redis-cli' },
    { package: 'busybox-static', by: 'busybox' },
    { package: 'etcd-server', by: 'etcd' },
    { package: 'etcd-client', by: 'etcdctl' },
    { package: 'openssh-server', by: 'sshd' },
    { package: 'openssl', by: 'openssl' },
    { package: 'nginx-light', by: 'nginx' },
    { package: 'haproxy', by: 'haproxy' },
    { package: 'apache2-bin', by: 'apache2' },
    { package: 'rsync', by: 'rsync' },
    { package: 'nftables', by: 'nft' },
    { package: 'groovy', by: 'groovy' },
    { package: 'gcc', by: 'gcc' },
    { package: 'libc6-dev', by: '/usr/include/stdio.h' },
  ],
  'test engines': [{ package: 'podman', by: 'podman' }],
}

/** Programs of the system are often not on an ordinary PATH. */
const systemFolders = [
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/usr/local/bin',
  '/usr/bin',
  '/bin',
]

/** Where a program is: on the PATH, or where Debian keeps the system's own. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...systemFolders]) {
    const path = join(folder, name)
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (folder && executable && (await stat(path)).isFile()) return path
  }
  return undefined
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** Debian packages that are missing for these needs. Only looks; installs nothing. */
export async function missingPackages(needs: readonly Need[]): Promise<string[]> {
  const missing: string[] = []
  for (const { package: name, by } of needs.flatMap((need) => provided[need])) {
    const there = by.startsWith('/') ? await exists(by) : (await findProgram(by)) !== undefined
    if (!there) missing.push(name)
  }
  return missing
}

export function isRoot(): boolean {
  return process.getuid?.() === 0
}

export async function isDebian(): Promise<boolean> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return /^ID="?debian"?$/m.test(text)
}

/**
 * Logs which packages of Debian it installs, and installs them. Waits up to two minutes for another apt.
 * UNAVAILABLE or COMMAND_FAILED, in a sentence for people, where it cannot be done.
 */
export async function installPackages(
  names: readonly string[],
  { log, signal }: { log: Log; signal?: AbortSignal | undefined },
): Promise<void> {
  if (names.length === 0) return
  const list = names.join(' ')
  const refuse = (why: string) =>
    new StepError('UNAVAILABLE', `${why}, so nothing was installed; missing: ${list}`)
  if (!(await isDebian())) throw refuse('This is not Debian')
  if (!isRoot()) throw refuse('Not run as root')
  log.info(`Installing from Debian's packages: ${list}`)
  const options = {
    env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
    log: { ...log, output: log.debug },
    signal,
  }
  const aptOptions = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=3']
  const restore = await keepServicesStopped()
  try {
    await updateLists(aptOptions, options, log)
    const install = ['install', '-y', '--no-install-recommends', ...aptOptions, ...names]
    await run('apt-get', install, options).catch(async () => {
      throwIfCancelled(signal)
      // An installation that was killed half-way must be finished before another may begin.
      await run('dpkg', ['--configure', '-a'], options)
      await run('apt-get', install, options)
    })
  } catch (error) {
    throw explain(`Debian's packages could not be installed (${list})`, error)
  } finally {
    await restore()
  }
}

/**
 * apt's own lock timeout does not cover the package lists, so this waits for another apt by trying
 * again. Old lists may do: the result of the installation is what counts.
 */
async function updateLists(options: string[], runOptions: RunOptions, log: Log): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await run('apt-get', ['update', ...options], runOptions)
      return
    } catch (error) {
      throwIfCancelled(runOptions.signal)
      if (attempt < 6) await wait(5000, runOptions.signal)
      else return log.warn(`Debian's package lists could not be updated: ${describe(error)}`)
    }
  }
}

const POLICY = '/usr/sbin/policy-rc.d'
const OURS = '#!/bin/sh\n# Written by the crosscloud demo while it installs packages.\nexit 101\n'

/**
 * Debian starts the services of packages it installs (docker.io's engine would stay behind).
 * policy-rc.d is its documented way to refuse that; one that exists already is left alone.
 */
async function keepServicesStopped(): Promise<() => Promise<void>> {
  if ((await readFile(POLICY, 'utf8').catch(() => undefined)) !== OURS) {
    const written = await writeFile(POLICY, OURS, { mode: 0o755, flag: 'wx' }).then(
      () => true,
      () => false,
    )
    if (!written) return async () => {}
  }
  return () => rm(POLICY, { force: true })
}

/** A place to fetch Debian from, as this machine's own apt is set up. */
export interface Mirror {
  url: string
  /** Keyring file the mirror's signatures are checked against, when named. */
  keyring?: string
  /** apt is configured to trust it without a signature. */
  trusted?: boolean
  suites: string[]
}

/** The mirror that apt uses for Debian's main archive (not security's, not others' packages). */
export async function debianMirror(
  release: string,
  aptFolder = '/etc/apt',
): Promise<Mirror | undefined> {
  const parts = join(aptFolder, 'sources.list.d')
  const names = (await readdir(parts).catch(() => [])).sort().map((name) => join(parts, name))
  const mirrors: Mirror[] = []
  for (const path of [join(aptFolder, 'sources.list'), ...names]) {
    const text = await readFile(path, 'utf8').catch(() => '')
    if (path.endsWith('.list')) mirrors.push(...parseOneLine(text))
    if (path.endsWith('.sources')) mirrors.push(...parseDeb822(text))
  }
  const debian = mirrors.filter(({ url }) => /^(https?|file):\/\/.*\/debian\/?$/.test(url))
  return debian.find(({ suites }) => suites.includes(release)) ?? debian[0]
}

/** sources.list(5), "ONE-LINE-STYLE FORMAT". */
function parseOneLine(text: string): Mirror[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)(?:\s+(.*))?$/.exec(
      line.replace(/#.*/, ''),
    )
    if (!match?.[2] || !match[3] || !/\bmain\b/.test(match[4] ?? '')) return []
    const option = (name: string) => new RegExp(`(?:^|\\s)${name}=(\\S+)`).exec(match[1] ?? '')?.[1]
    return [mirror(match[2], [match[3]], option('signed-by'), option('trusted'))]
  })
}

/** sources.list(5), "DEB822-STYLE FORMAT". */
function parseDeb822(text: string): Mirror[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const lines = stanza.split('\n').filter((line) => !line.startsWith('#'))
    const fields = new Map(
      [...lines.join('\n').matchAll(/^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)].map((match) => [
        (match[1] ?? '').toLowerCase(),
        (match[2] ?? '').trim().split(/\s+/),
      ]),
    )
    const has = (name: string, value: string) => fields.get(name)?.includes(value) ?? false
    if (!has('types', 'deb') || !has('components', 'main') || has('enabled', 'no')) return []
    const [key] = fields.get('signed-by') ?? []
    const [trusted] = fields.get('trusted') ?? []
    const suites = fields.get('suites') ?? []
    return (fields.get('uris') ?? []).map((url) => mirror(url, suites, key, trusted))
  })
}

function mirror(url: string, suites: string[], key?: string, trusted?: string): Mirror {
  return {
    url,
    suites,
    ...(key?.startsWith('/') ? { keyring: key } : {}),
    ...(trusted === 'yes' ? { trusted: true } : {}),
  }
}
