import { createHash } from 'node:crypto'
import {
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { errorCodeOf, StepError } from '../../core/errors.ts'
import { stateFolder } from '../../core/files/folders.ts'
import { requireOwn } from '../../core/files/own-files.ts'
import { SETTINGS_FILE } from '../../settings.ts'
import { checkOutCommit } from '../effects/checkout.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import { type Merged, mergeSettings } from './merge.ts'
import { readPlainYaml, writePlainYaml } from './plain-yaml.ts'
import type { ApplicationSettings } from './settings.ts'
import { checkTree } from './tree.ts'

/** A commit of an application on this machine, with the settings that count in it. */
export interface ApplicationCheckout {
  commit: string
  /** Where its crosscloud.yml is. */
  folder: string
  /** The settings that count: the server's over those of the commit. */
  file: string
  variables: Merged['variables']
}

export interface WantedCheckout {
  app: string
  commit: string
  settings: ApplicationSettings
  /** The application as crosscloud.server.yml has it, with its variables. */
  own: Readonly<Record<string, unknown>>
  /** The folder of crosscloud.server.yml. */
  serverFolder: string
}

/**
 * Beside the repository's own file, as its paths start there: the child process that runs a step reads
 * settings from a file only. It has no value of a variable, and the commit cannot bring it along.
 */
const MERGED_FILE = '.crosscloud.server-merged.yml'
/** Checkouts that were made with fewer checks are not used again. */
const CHECKS = 3
/** How long a checkout that nobody uses stays: a step may be running in it. */
const KEPT = 24 * 3_600_000

/** Checks a commit out once on this machine; the server's own settings may change in between. */
export async function openCheckout(
  wanted: WantedCheckout,
  worker: WorkerEnvironment,
  signal: AbortSignal,
): Promise<ApplicationCheckout> {
  const { app, commit, settings } = wanted
  const root = resolve(worker.folder, stateFolder(worker.variables), 'applications', app)
  await mkdir(root, { recursive: true, mode: 0o700 })
  await requireOwn(root)
  const own = createHash('sha256')
    .update(JSON.stringify([CHECKS, wanted.own, settings.path]))
    .digest('hex')
  const place = join(root, `${commit}-${own.slice(0, 16)}`)
  const folder = join(place, settings.path)
  if (!(await isThere(place))) await make(place, wanted, worker, signal)
  const now = new Date()
  await utimes(place, now, now)
  await removeOld(root)
  const { variables } = mergeSettings({
    app,
    repository: await readYaml(join(folder, SETTINGS_FILE), app),
    own: wanted.own,
    folder: wanted.serverFolder,
  })
  return { commit, folder, file: join(folder, MERGED_FILE), variables }
}

async function make(
  place: string,
  { app, commit, settings, own, serverFolder }: WantedCheckout,
  worker: WorkerEnvironment,
  signal: AbortSignal,
): Promise<void> {
  const { repository: url, path } = settings
  const submodules = settings.submodules ? 'same-host' : 'none'
  const wantedCommit = { url, commit, project: app, submodules } as const
  const checkout = await checkOutCommit(wantedCommit, worker, signal)
  const staged = `${place}.${process.pid}.${Date.now()}`
  try {
    await checkTree(checkout.folder, path, app)
    const folder = join(checkout.folder, path)
    const file = join(folder, SETTINGS_FILE)
    const merged = mergeSettings({
      app,
      repository: await readYaml(file, app),
      own,
      folder: serverFolder,
    })
    const target = join(folder, MERGED_FILE)
    await rm(target, { recursive: true, force: true })
    await writeFile(target, await writePlainYaml(merged.settings, app), { mode: 0o600, flag: 'wx' })
    // The temporary folder may be on another disk.
    await cp(checkout.folder, staged, { recursive: true, verbatimSymlinks: true })
    await rename(staged, place)
  } catch (error) {
    // Another process of this machine may have made the same one meanwhile.
    if (!/EEXIST|ENOTEMPTY/.test(errorCodeOf(error) ?? '')) throw error
  } finally {
    await checkout.remove()
    await rm(staged, { recursive: true, force: true })
  }
}

async function readYaml(file: string, app: string): Promise<unknown> {
  const found = await lstat(file).catch(() => undefined)
  if (!found?.isFile()) {
    throw new StepError('NOT_FOUND', `the repository of ${app} has no ${SETTINGS_FILE} there`, {
      hint: `Correct applications.${app}.path in crosscloud.server.yml, or commit the file.`,
    })
  }
  return readPlainYaml(await readFile(file, 'utf8'), app)
}

const isThere = async (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

async function removeOld(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    const path = join(root, name)
    const found = await stat(path).catch(() => undefined)
    if (found && Date.now() - found.mtimeMs > KEPT) {
      await rm(path, { recursive: true, force: true }).catch(() => {})
    }
  }
}
