import { throwIfCancelled } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'
import type { FileChange, Instance, InstanceReader } from '../../targets/target.ts'
import type { RemoteImage } from '../image/remote-image.ts'

/** Where the application may write; nothing there is compared, it is listed separately. */
export interface WritablePaths {
  /** Of `image.writable`. */
  named: readonly string[]
  /** Beside the web application: of every Linux system, and Tomcat's own. */
  usual: string[]
}

/** Filesystem Hierarchy Standard 3.0: 3.15, 3.18, and 5.5, 5.9, 5.10, 5.13, 5.15 below /var. */
const VARIABLE = ['/run', '/tmp', '/var/cache', '/var/lock', '/var/log', '/var/run', '/var/tmp']
/** https://tomcat.apache.org/tomcat-10.1-doc/introduction.html#Directories_and_Files */
const TOMCAT = ['logs', 'temp', 'work']

/** Not its conf: a file there makes a second web application. */
export function usuallyWritable({ config }: RemoteImage): string[] {
  const variables = new Map(
    (config.config?.Env ?? []).map((entry) => {
      const at = entry.indexOf('=')
      return [entry.slice(0, at), entry.slice(at + 1)] as const
    }),
  )
  const tomcat = variables.get('CATALINA_BASE') || variables.get('CATALINA_HOME')
  if (!tomcat?.startsWith('/')) return [...VARIABLE]
  return [...VARIABLE, ...TOMCAT.map((name) => `${tomcat.replace(/\/+$/, '')}/${name}`)]
}

export interface Evaluation {
  problems: string[]
  /** How many paths the application wrote, by the writable path they are in. */
  written: Map<string, number>
}

/**
 * What has changed in an instance since its image, without what `isCompared`: those files were
 * read. A folder by itself does not count; what is in it is listed, too.
 */
export async function evaluateChanges(
  target: InstanceReader,
  instance: Instance,
  changes: readonly FileChange[],
  options: {
    writable: WritablePaths
    isCompared: (path: string) => boolean
    signal: AbortSignal
  },
): Promise<Evaluation> {
  const { writable, isCompared, signal } = options
  const problems: string[] = []
  const written = new Map<string, number>()
  for (const { path, kind } of withoutParents(changes)) {
    const place = placeOf(path, writable.named)
    if (place === undefined && isCompared(path)) continue
    const where = place ?? placeOf(path, writable.usual)
    if (where !== undefined) {
      if (path !== where) written.set(where, (written.get(where) ?? 0) + 1)
      continue
    }
    throwIfCancelled(signal)
    if (kind !== 'deleted' && (await target.isFolder(instance, path))) continue
    problems.push(problemLine(kind, path))
  }
  return { problems, written }
}

export function placeOf(path: string, places: readonly string[]): string | undefined {
  return places.find((place) => isBelow(path, place))
}

export function problemLine(kind: string, path: string): string {
  return `${kind.padEnd(8)} ${path}`
}

/** A folder that was replaced is listed as deleted: unlike a folder that only holds changes. */
function withoutParents(changes: readonly FileChange[]): FileChange[] {
  const parents = new Set(changes.flatMap(({ path }) => parentsOf(path)))
  return changes
    .filter(({ path, kind }) => kind === 'deleted' || !parents.has(path))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

function parentsOf(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(2).map((_, index) => parts.slice(0, index + 2).join('/'))
}
