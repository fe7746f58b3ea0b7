import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { type Digest, digestingStream } from '../core/digest.ts'
import { explain, StepError } from '../core/errors.ts'
import { replaceFile } from '../core/files/atomic-file.ts'
import type { Log } from '../core/log.ts'
import { run } from '../core/process/process.ts'
import { makeWhole, removeTree } from './leftovers.ts'
import { debianMirror, exists, findProgram, isRoot, type Mirror } from './packages.ts'

/** A Tomcat base image as one layer, made of Debian's packages: what a registry needs to hold it. */
export interface BaseImage {
  /** The layer, a gzipped tar, as a file. */
  layerPath: string
  /** Of the layer as it is in the file. */
  digest: Digest
  /** bytes of the file */
  size: number
  /** Of the tar inside (OCI image-spec, config.md, "Layer DiffID"). */
  diffId: Digest
  os: 'linux'
  /** As OCI and Go name it: `amd64`, `arm64`. */
  architecture: string
  /** The `config` of an OCI image config. */
  config: {
    Env: string[]
    Cmd: string[]
    WorkingDir: string
    ExposedPorts: Record<string, Record<string, never>>
  }
  /** Where an exploded web application goes to be the root one: `image.webapp` in crosscloud.yml. */
  webapp: string
}

const RELEASE = 'bookworm'
const PACKAGES = ['openjdk-17-jre-headless', 'tomcat10', 'ca-certificates']
const TOMCAT = '/usr/share/tomcat10'
const BASE = '/var/lib/tomcat10'
/** Debian 12's own day: files that the installation makes anew get this time. */
const CLAMP = '2023-06-10T00:00:00Z'
/** Raised when what is built below changes, so that older results are not taken for it. */
const RECIPE = 2

/**
 * Builds the base image once, in `folder`/base, and returns it; the next call only reads. About a
 * minute, 500 MB of disk while it is built and 180 MB after. Needs root, debootstrap and the
 * mirror that this machine's apt uses.
 */
export async function prepareBaseRootfs(
  folder: string,
  log: Log,
  signal?: AbortSignal,
): Promise<BaseImage> {
  const made = resolve(folder, 'base')
  const known = await readBaseImage(folder)
  if (known) return known
  if (!(await findProgram('debootstrap'))) {
    throw new StepError('NOT_FOUND', 'debootstrap is missing', { hint: 'Install debootstrap.' })
  }
  if (!isRoot()) throw new StepError('UNAVAILABLE', 'debootstrap needs root')
  const mirror = await debianMirror(RELEASE)
  if (!mirror) throw new StepError('UNAVAILABLE', "apt's sources name no Debian mirror")
  log.info(`Building a Tomcat base image from Debian's packages (${mirror.url}), about a minute`)
  await makeWhole(made, (unfinished) => build(unfinished, mirror, log, signal))
  const base = await readBaseImage(folder)
  if (!base) throw new StepError('INTERNAL', `${made}: the base image just built cannot be read`)
  return base
}

type Recorded = Omit<BaseImage, 'layerPath'> & { recipe: number }

/** The base image that an earlier call built in this folder. */
export async function readBaseImage(folder: string): Promise<BaseImage | undefined> {
  const made = resolve(folder, 'base')
  const text = await readFile(join(made, 'base.json'), 'utf8').catch(() => undefined)
  const layerPath = join(made, 'layer.tar.gz')
  if (text === undefined || !(await exists(layerPath))) return undefined
  const { recipe, ...base }: Recorded = JSON.parse(text)
  return recipe === RECIPE ? { layerPath, ...base } : undefined
}

async function build(
  folder: string,
  mirror: Mirror,
  log: Log,
  signal: AbortSignal | undefined,
): Promise<void> {
  const root = join(folder, 'rootfs')
  try {
    await run('debootstrap', debootstrapArgs(root, mirror), {
      env: { DEBIAN_FRONTEND: 'noninteractive', ...(await aptProxy(signal)) },
      log: { ...log, output: log.debug },
      signal,
    })
  } catch (error) {
    throw explain('The base image could not be built', error)
  }
  await trim(root)
  await configureTomcat(root)
  const tar = join(folder, 'layer.tar')
  await pack(root, tar, signal)
  await removeTree(root)
  const layer = await compress(tar, join(folder, 'layer.tar.gz'), signal)
  await rm(tar)
  const { stdout: architecture } = await run('dpkg', ['--print-architecture'], { signal })
  const recorded: Recorded = { recipe: RECIPE, ...layer, ...description(architecture) }
  await writeFile(join(folder, 'base.json'), `${JSON.stringify(recorded, null, 2)}\n`)
}

function debootstrapArgs(root: string, { url, keyring, trusted }: Mirror): string[] {
  return [
    '--variant=minbase',
    `--include=${PACKAGES.join(',')}`,
    ...(trusted ? ['--no-check-gpg'] : keyring ? [`--keyring=${keyring}`] : []),
    RELEASE,
    root,
    url,
  ]
}

/** debootstrap fetches with wget, which does not know apt's proxy. */
async function aptProxy(signal: AbortSignal | undefined): Promise<Record<string, string>> {
  const { stdout } = await run('apt-config', ['dump', '--format', '%v', 'Acquire::http::Proxy'], {
    signal,
  })
  return /^https?:/.test(stdout) ? { http_proxy: stdout.trim() } : {}
}

function description(
  architecture: string,
): Pick<BaseImage, 'os' | 'architecture' | 'config' | 'webapp'> {
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  return {
    os: 'linux',
    architecture: { armhf: 'arm', i386: '386', ppc64el: 'ppc64le' }[architecture] ?? architecture,
    config: {
      Env: [
        `PATH=${TOMCAT}/bin:${path}`,
        'LANG=C.UTF-8',
        'JAVA_HOME=/usr/lib/jvm/default-java',
        `CATALINA_HOME=${TOMCAT}`,
        `CATALINA_BASE=${BASE}`,
        'CATALINA_TMPDIR=/tmp',
        // A small application that is started often: this halves what a start costs.
        'CATALINA_OPTS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC',
      ],
      // catalina.sh ends in `exec java`: Tomcat itself is process 1 and hears SIGTERM.
      Cmd: ['catalina.sh', 'run'],
      WorkingDir: BASE,
      ExposedPorts: { '8080/tcp': {} },
    },
    webapp: `${BASE}/webapps/ROOT`,
  }
}

/** Takes out what only this installation had, and what no container reads. Licences stay. */
async function trim(root: string): Promise<void> {
  const emptied = ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/man', 'usr/share/info']
  for (const name of [...emptied, 'usr/share/locale', 'usr/share/lintian', 'dev', 'run', 'tmp']) {
    await emptyFolder(join(root, name))
  }
  for (const name of ['var/log/bootstrap.log', 'var/log/dpkg.log', 'var/log/alternatives.log']) {
    await rm(join(root, name), { force: true })
  }
  await rm(join(root, 'var/cache/ldconfig/aux-cache'), { force: true })
  for (const name of ['etc/machine-id', 'etc/hostname', 'etc/resolv.conf']) {
    await rm(join(root, name), { force: true })
    await writeFile(join(root, name), '')
  }
  const documents = ['-type', 'f', '!', '-name', 'copyright', '-delete']
  await run('find', [join(root, 'usr/share/doc'), ...documents])
}

async function emptyFolder(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) await removeTree(join(folder, name))
}

/** A container's log is its output: Debian's log files would hide the reason of a failed start. */
const LOGGING = `handlers = java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
.level = INFO
java.util.logging.ConsoleHandler.level = ALL
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
java.util.logging.ConsoleHandler.encoding = UTF-8
`

async function configureTomcat(root: string): Promise<void> {
  // Debian's welcome page would answer 200 in place of an application that is not there.
  await removeTree(join(root, BASE, 'webapps/ROOT'))
  const logging = join(root, 'etc/tomcat10/logging.properties')
  await replaceFile(logging, LOGGING, { mode: 0o644 })
  // conf, logs and work are links to these; the packages make them, a trimmed folder might not.
  for (const name of ['etc/tomcat10/policy.d', 'var/log/tomcat10', 'var/cache/tomcat10']) {
    await mkdir(join(root, name), { recursive: true })
  }
}

/** The same tree gives the same tar: sorted, numeric owners, no time later than CLAMP. */
async function pack(root: string, tar: string, signal: AbortSignal | undefined): Promise<void> {
  const same = [
    '--sort=name',
    '--numeric-owner',
    `--mtime=${CLAMP}`,
    '--clamp-mtime',
    '--format=gnu',
  ]
  await run('tar', [...same, '--one-file-system', '-C', root, '-cf', tar, '.'], {
    env: { LC_ALL: 'C' },
    signal,
  })
}

async function compress(
  tar: string,
  layer: string,
  signal: AbortSignal | undefined,
): Promise<Pick<BaseImage, 'digest' | 'diffId' | 'size'>> {
  const plain = digestingStream()
  const packed = digestingStream()
  await pipeline(
    createReadStream(tar, { highWaterMark: 1 << 20 }),
    plain.stream,
    createGzip({ level: 1, chunkSize: 1 << 18 }),
    packed.stream,
    createWriteStream(layer),
    signal ? { signal } : {},
  )
  const { digest, size } = packed.result()
  return { digest, size, diffId: plain.result().digest }
}
