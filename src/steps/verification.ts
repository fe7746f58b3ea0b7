import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { StepError, throwIfCancelled } from '../core/errors.ts'
import { OWN_FOLDER } from '../image/image.ts'
import type { ContainerInfo, Host, PlacedFile } from '../target/target.ts'
import { compareEach, compareFiles, readContainerFile } from '../target/verify.ts'
import { MANIFEST_FILE, type RemoteImage, readLayerFiles, requireLabel } from './remote-image.ts'
import type { Context } from './step.ts'

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

export interface Proof {
  host: string
  containerId: string
  warMd5: string
  /** Files compared, rendered ones included. */
  files: number
}

/** What the registry says must be inside a container of this image. */
export interface Expectation {
  image: RemoteImage
  warMd5: string
  /** A folder, or the one .war file. */
  root: string
  /** Path from `root` → MD5. */
  files: Map<string, string>
  /** What was baked beside it, as `image.add` says: absolute path → MD5. */
  beside: Map<string, string>
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
  const all = parseManifest(manifest.toString())
  if (requireLabel(image, 'warLayout') === 'packaged') {
    const root = `${webapp}.war`
    const files = new Map([[basename(root), warMd5]])
    return { image, warMd5, root, files, beside: filterPaths(all, (path) => path !== root) }
  }
  const isInside = (path: string) => path.startsWith(`${webapp}/`)
  const inside = [...filterPaths(all, isInside)]
  const files = new Map(inside.map(([path, md5]) => [path.slice(webapp.length + 1), md5]))
  return { image, warMd5, root: webapp, files, beside: filterPaths(all, (path) => !isInside(path)) }
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

function filterPaths(
  files: ReadonlyMap<string, string>,
  wanted: (path: string) => boolean,
): Map<string, string> {
  return new Map([...files].filter(([path]) => wanted(path)))
}

/** The label that lets a later run tell whether the rendered files are still as they were placed. */
export function configFilesLabel(files: readonly PlacedFile[]): string {
  return JSON.stringify(Object.fromEntries(files.map(({ path, content }) => [path, hash(content)])))
}

function hash(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

/** Compares every file inside the running container; VERIFY_FAILED names what differs. */
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
  const inside = Object.keys(placed).filter((path) => path.startsWith(`${expected.root}/`))
  const extraAllowed = new Set(inside.map((path) => path.slice(expected.root.length + 1)))
  // A rendered file may take the place of one from the WAR; then its own hash is what counts.
  const files = new Map([...expected.files].filter(([path]) => !extraAllowed.has(path)))
  const found = await compareFiles(host, container.id, expected.root, files, {
    extraAllowed,
    signal,
  })
  const beside = filterPaths(expected.beside, (path) => placed[path] === undefined)
  const foundBeside = await compareEach(host, container.id, beside, signal)
  const changedConfig = await changedConfigFiles(host, container, placed, signal)
  const problems = [
    ...found.changed.map((path) => `changed  ${expected.root}/${path}`),
    ...found.missing.map((path) => `missing  ${expected.root}/${path}`),
    ...found.extra.map((path) => `extra    ${expected.root}/${path}`),
    ...foundBeside.changed.map((path) => `changed  ${path}`),
    ...foundBeside.missing.map((path) => `missing  ${path}`),
    ...changedConfig.map((path) => `changed  ${path} (rendered config)`),
  ]
  if (problems.length === 0) {
    return {
      host: host.name,
      containerId: container.id,
      warMd5: expected.warMd5,
      files: files.size + beside.size + Object.keys(placed).length,
    }
  }
  const shown = problems.slice(0, 50).map((line) => `  ${line}`)
  if (problems.length > 50) shown.push(`  … and ${problems.length - 50} more`)
  throw new StepError(
    'VERIFY_FAILED',
    `${container.name} on ${host.name} is not what was baked (WAR MD5 ${expected.warMd5}):\n${shown.join('\n')}`,
    { hint: 'Somebody changed the container. Deploy the release again to put it right.' },
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
