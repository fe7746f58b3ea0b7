import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { StepError, throwIfCancelled } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'
import { indentedLines } from '../../core/lists.ts'
import { labels, OWN_FOLDER } from '../../image/image.ts'
import {
  type ContainerInfo,
  type Host,
  type PlacedFile,
  REPLACED_FOLDER,
} from '../../targets/docker/host.ts'
import { compareEach, readContainerFile } from '../../targets/docker/verify.ts'
import type { Context } from '../context.ts'
import {
  MANIFEST_FILE,
  type RemoteImage,
  readLayerFiles,
  requireLabel,
  UNPACKED_FILE,
} from '../image/remote-image.ts'
import {
  evaluateChanges,
  placeOf,
  problemLine,
  usuallyWritable,
  type WritablePaths,
} from './changed-files.ts'
import { compareTree, type Tree, treeProblems } from './web-application.ts'

/** Labels of a container: what it is, and what was placed into it. */
export const containerLabels = {
  application: 'io.crosscloud.application',
  environment: 'io.crosscloud.environment',
  version: 'io.crosscloud.version',
  deployment: 'io.crosscloud.deployment',
  /** `ledger:token` of the lock it was deployed under; a younger one of the same ledger wins. */
  lock: 'io.crosscloud.lock',
  configRevision: 'io.crosscloud.config.revision',
  /** JSON: path → SHA-256 of each rendered file. */
  configFiles: 'io.crosscloud.config.files',
} as const

/** What was compared in one container, and what was not. */
export interface Proof {
  host: string
  containerId: string
  warMd5: string
  /** Files compared: of the WAR, of the image beside it, and rendered. */
  war: number
  image: number
  rendered: number
  /** How many paths the application wrote, by the writable path they are in. */
  written: Map<string, number>
  /** Where volumes are mounted, which are not compared. */
  volumes: string[]
}

/** What the registry says must be inside a container of this image. */
export interface Expectation {
  image: RemoteImage
  warMd5: string
  webapp: Tree[]
  /** What was baked beside it, as `image.add` says: absolute path → MD5. */
  beside: Map<string, string>
  writable: WritablePaths
}

/** Reads the file manifest from the registry, never from the container that is to be judged. */
export async function expectedFiles(image: RemoteImage, context: Context): Promise<Expectation> {
  const warMd5 = requireLabel(image, 'warMd5')
  const webapp = requireLabel(image, 'webapp').replace(/\/+$/, '')
  const layer = await readLayerFiles(await context.registry(), image, 'manifest', OWN_FOLDER)
  const manifest = layer?.get(MANIFEST_FILE)
  if (!manifest) {
    throw new StepError('VERIFY_FAILED', 'the image has no file manifest', {
      hint: 'Bake it again with this version of crosscloud.',
    })
  }
  const isPackaged = requireLabel(image, 'warLayout') === 'packaged'
  const root = isPackaged ? `${webapp}.war` : webapp
  const baked = parseManifest(manifest.toString())
  const trees = [
    isPackaged
      ? { root, files: new Map([[basename(root), warMd5]]), unpacked: false }
      : { root, files: within(root, baked), unpacked: false },
  ]
  const writable = { named: writableLabel(image), usual: usuallyWritable(image) }
  const unpacked = layer?.get(UNPACKED_FILE)
  if (unpacked) {
    const files = within(webapp, parseManifest(unpacked.toString()))
    trees.push({ root: webapp, files, unpacked: true })
  } else if (isPackaged) {
    context.log.warn(
      `${webapp} is not compared: this image was baked before bake-image wrote down what is in a .war file`,
    )
    writable.usual.push(webapp)
  }
  return {
    ...{ image, warMd5, webapp: trees },
    beside: filterPaths(baked, (path) => !isBelow(path, root)),
    writable,
  }
}

/** Lines of `md5sum`: 32 hex digits, two spaces, an absolute path. */
function parseManifest(text: string): Map<string, string> {
  const files = new Map<string, string>()
  for (const line of text.split('\n').filter(Boolean)) {
    const [, md5, path] = /^([0-9a-f]{32}) {2}(\/.*)$/.exec(line) ?? []
    if (md5 === undefined || path === undefined) {
      throw new StepError('VERIFY_FAILED', `file manifest: unreadable line "${line}"`, {
        hint: 'Bake the image again with this version of crosscloud.',
      })
    }
    files.set(path, md5)
  }
  return files
}

/** Those of the files that are below a folder, by their path from there. */
function within(root: string, files: ReadonlyMap<string, string>): Map<string, string> {
  const inside = [...files].filter(([path]) => path.startsWith(`${root}/`))
  return new Map(inside.map(([path, md5]) => [path.slice(root.length + 1), md5]))
}

function filterPaths(
  files: ReadonlyMap<string, string>,
  wanted: (path: string) => boolean,
): Map<string, string> {
  return new Map([...files].filter(([path]) => wanted(path)))
}

function writableLabel({ config }: RemoteImage): string[] {
  const text = config.config?.Labels?.[labels.writable]
  return text === undefined ? [] : (JSON.parse(text) as string[])
}

/** The label that lets a later run tell whether the rendered files are still as they were placed. */
export function configFilesLabel(files: readonly PlacedFile[]): string {
  return JSON.stringify(Object.fromEntries(files.map(({ path, content }) => [path, hash(content)])))
}

function hash(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

/**
 * Compares every file of the web application and of the config inside the running container, and
 * sees that nothing else differs from the image; VERIFY_FAILED names what does.
 */
export async function verifyContainer(
  host: Host,
  container: ContainerInfo,
  expected: Expectation,
  { signal }: Context,
): Promise<Proof> {
  const placed = JSON.parse(container.labels[containerLabels.configFiles] ?? '{}') as Record<
    string,
    string
  >
  const { changes, volumes } = await host.changes(container.id)
  const changed = new Set(changes.map(({ path }) => path))
  const problems: string[] = []
  let war = 0
  for (const tree of expected.webapp) {
    const found = await compareTree(host, container, tree, Object.keys(placed), signal)
    war += found?.files ?? 0
    if (found) problems.push(...treeProblems(tree.root, found, expected.writable, changed))
  }
  const { writable } = expected
  const beside = filterPaths(
    expected.beside,
    (path) => !Object.hasOwn(placed, path) && placeOf(path, writable.named) === undefined,
  )
  const foundBeside = await compareEach(host, container.id, beside, signal)
  problems.push(
    ...foundBeside.changed.map((path) => problemLine('changed', path)),
    ...foundBeside.missing.map((path) => problemLine('missing', path)),
  )
  const changedConfig = await changedConfigFiles(host, container, placed, signal)
  problems.push(...changedConfig.map((path) => `${problemLine('changed', path)} (rendered config)`))
  const isCompared = (path: string) =>
    Object.hasOwn(placed, path) ||
    beside.has(path) ||
    isBelow(path, REPLACED_FOLDER) ||
    expected.webapp.some(({ root }) => isBelow(path, root)) ||
    // The engine makes what it mounts volumes upon.
    volumes.some((volume) => isBelow(volume, path))
  const judged = await evaluateChanges(host, container, changes, { writable, isCompared, signal })
  problems.push(...judged.problems)
  if (problems.length > 0) throw notAsBaked(host, container, expected, problems)
  return {
    ...{ host: host.name, containerId: container.id, warMd5: expected.warMd5 },
    ...{ war, image: beside.size },
    ...{ rendered: Object.keys(placed).length, written: judged.written, volumes },
  }
}

/** `412 files of the WAR, 1 of the image, 2 rendered` */
export function filesTold({ war, image, rendered }: Pick<Proof, 'war' | 'image' | 'rendered'>) {
  return `${war} ${war === 1 ? 'file' : 'files'} of the WAR, ${image} of the image, ${rendered} rendered`
}

function notAsBaked(
  host: Host,
  container: ContainerInfo,
  { warMd5 }: Expectation,
  problems: readonly string[],
): StepError {
  const lines = indentedLines(problems, 50)
  return new StepError(
    'VERIFY_FAILED',
    `${container.name} on ${host.name} is not what was baked (WAR MD5 ${warMd5}):\n${lines}`,
    {
      hint: 'Deploy the release again to put right what somebody changed. What the application writes itself belongs into `image.writable` (docs/verification.md).',
    },
  )
}

const LARGEST_CONFIG = 16 * 2 ** 20

async function changedConfigFiles(
  host: Host,
  container: ContainerInfo,
  placed: Record<string, string>,
  signal: AbortSignal,
): Promise<string[]> {
  const changed: string[] = []
  for (const [path, wanted] of Object.entries(placed)) {
    const content = await readContainerFile(host, container.id, path, LARGEST_CONFIG).catch(
      () => undefined,
    )
    throwIfCancelled(signal)
    if (content === undefined || hash(content) !== wanted) changed.push(path)
  }
  return changed
}
