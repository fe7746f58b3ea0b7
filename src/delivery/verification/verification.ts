import { basename } from 'node:path'
import pLimit from 'p-limit'
import { StepError, throwIfCancelled } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'
import { indentedLines } from '../../core/lists.ts'
import { labels, OWN_FOLDER } from '../../image/image.ts'
import { compareEach, type ReadPath, readInstanceFile } from '../../targets/instance-files.ts'
import { isAsLabelled, placedFilesOf } from '../../targets/labels.ts'
import type { Instance, InstanceReader } from '../../targets/target.ts'
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

/** What was compared in one instance, and what was not. */
export interface Proof {
  host: string
  /** Whether it never ran, and the files of its image were not read. */
  byOrigin: boolean
  /** Files compared: of the WAR, of the image beside it, and rendered. */
  war: number
  image: number
  rendered: number
  /** How many paths the application wrote, by the writable path they are in. */
  written: Map<string, number>
  /** Where volumes are mounted, which are not compared. */
  volumes: string[]
}

/** What must be inside an instance of this image, by the registry. */
export interface Expectation {
  image: RemoteImage
  warMd5: string
  webapp: Tree[]
  /** What was baked beside it by `image.add`: absolute path → MD5. */
  beside: Map<string, string>
  writable: WritablePaths
}

/** Reads the file manifest from the registry, never from the instance that is verified. */
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
    image,
    warMd5,
    webapp: trees,
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

/**
 * Compares every file of the web application and of the config inside an instance, and checks that
 * nothing else differs from the image; VERIFY_FAILED names what does. Of an instance that never ran
 * the files of its image are not read, where it can be proven that it has no others.
 */
export async function verifyInstance(
  target: InstanceReader,
  instance: Instance,
  expected: Expectation,
  context: Context,
): Promise<Proof> {
  const proof = await proveByOrigin(target, instance, expected, context)
  return proof ?? (await compareInstance(target, instance, expected, context))
}

async function compareInstance(
  target: InstanceReader,
  instance: Instance,
  expected: Expectation,
  { signal }: Context,
): Promise<Proof> {
  const placed = placedFilesOf(instance)
  const read = (path: string) => target.read(instance, path)
  const { changes, volumes } = await target.changes(instance)
  const { writable, webapp } = expected
  const changed = new Set(changes.map(({ path }) => path))
  const beside = comparedBeside(expected, placed)
  const [war, others, config] = await Promise.all([
    compareWebapp(read, expected, { placed, changed, signal }),
    compareEach(read, beside, signal),
    readConfigFiles(read, placed, signal),
  ])
  const isCompared = (path: string) =>
    Object.hasOwn(placed, path) ||
    beside.has(path) ||
    webapp.some(({ root }) => isBelow(path, root)) ||
    // The engine makes what it mounts volumes upon.
    volumes.some((volume) => isBelow(volume, path))
  const rest = await evaluateChanges(target, instance, changes, { writable, isCompared, signal })
  const problems = [
    ...war.problems,
    ...others.changed.map((path) => problemLine('changed', path)),
    ...others.missing.map((path) => problemLine('missing', path)),
    ...config.changed.map((path) => `${problemLine('changed', path)} (rendered config)`),
    ...rest.problems,
  ]
  if (problems.length > 0) throw notAsBaked(instance, expected, problems)
  return {
    host: instance.host,
    byOrigin: false,
    war: war.files,
    image: beside.size,
    rendered: Object.keys(placed).length,
    written: rest.written,
    volumes,
  }
}

type PlacedFiles = ReturnType<typeof placedFilesOf>

function comparedBeside({ beside, writable }: Expectation, placed: PlacedFiles) {
  return filterPaths(
    beside,
    (path) => !Object.hasOwn(placed, path) && placeOf(path, writable.named) === undefined,
  )
}

/**
 * An instance that nobody ran, made from the image that the registry has, has the image's files, and
 * others only if somebody put them into it: then it holds more bytes than the files that were placed.
 * Its host has checked the image's layers by their digests when it fetched them.
 * @returns undefined where this proves nothing, or something differs
 */
async function proveByOrigin(
  target: InstanceReader,
  instance: Instance,
  expected: Expectation,
  { signal }: Context,
): Promise<Proof | undefined> {
  if (instance.running || instance.exitCode !== undefined) return undefined
  const placed = placedFilesOf(instance)
  const read = (path: string) => target.read(instance, path)
  const [{ imageDigest, ownBytes, volumes }, config] = await Promise.all([
    target.origin(instance),
    readConfigFiles(read, placed, signal),
  ])
  const { image, webapp, beside } = expected
  const digests: string[] = [image.content.config.digest, image.manifest.digest]
  const paths = [...webapp.map(({ root }) => root), ...beside.keys()]
  const isHidden = volumes.some((volume) =>
    paths.some((path) => isBelow(path, volume) || isBelow(volume, path)),
  )
  if (!digests.includes(imageDigest) || isHidden) return undefined
  if (config.changed.length > 0 || config.bytes !== ownBytes) return undefined
  return {
    host: instance.host,
    byOrigin: true,
    war: webapp.reduce((sum, { files, unpacked }) => sum + (unpacked ? 0 : files.size), 0),
    image: comparedBeside(expected, placed).size,
    rendered: Object.keys(placed).length,
    written: new Map(),
    volumes,
  }
}

async function compareWebapp(
  read: ReadPath,
  { webapp, writable }: Expectation,
  options: { placed: PlacedFiles; changed: ReadonlySet<string>; signal: AbortSignal },
): Promise<{ files: number; problems: string[] }> {
  const { placed, changed, signal } = options
  const problems: string[] = []
  let files = 0
  for (const tree of webapp) {
    const found = await compareTree(read, tree, Object.keys(placed), signal)
    if (!found) continue
    files += found.files
    problems.push(...treeProblems(tree.root, found, writable, changed))
  }
  return { files, problems }
}

/** `412 files of the WAR, 1 of the image, 2 rendered` */
export function describeFiles({ war, image, rendered }: Pick<Proof, 'war' | 'image' | 'rendered'>) {
  return `${war} ${war === 1 ? 'file' : 'files'} of the WAR, ${image} of the image, ${rendered} rendered`
}

function notAsBaked(
  { name, host }: Instance,
  { warMd5 }: Expectation,
  problems: readonly string[],
): StepError {
  const lines = indentedLines(problems, 50)
  return new StepError(
    'VERIFY_FAILED',
    `${name} on ${host} is not what was baked (WAR MD5 ${warMd5}):\n${lines}`,
    {
      hint: 'Deploy the release again to put right what somebody changed. What the application writes itself belongs into `image.writable` (docs/verification.md).',
    },
  )
}

const LARGEST_CONFIG = 16 * 2 ** 20
/** Files of one instance that are read at once. */
const CONCURRENT_READS = 4

async function readConfigFiles(
  read: ReadPath,
  placed: PlacedFiles,
  signal: AbortSignal,
): Promise<{ changed: string[]; bytes: number }> {
  const changed: string[] = []
  let bytes = 0
  await pLimit(CONCURRENT_READS).map(Object.entries(placed), async ([path, wanted]) => {
    throwIfCancelled(signal)
    const content = await readInstanceFile(read, path, LARGEST_CONFIG).catch(() => undefined)
    throwIfCancelled(signal)
    bytes += content?.length ?? 0
    if (content === undefined || !isAsLabelled(content, wanted)) changed.push(path)
  })
  return { changed: changed.sort(), bytes }
}
