import type { Stats } from 'node:fs'
import { lstat, open, realpath, unlink } from 'node:fs/promises'
import { dirname, isAbsolute, resolve } from 'node:path'
import type { z } from 'zod'
import { errorCodeOf, explain, StepError } from '../core/errors.ts'
import { isBelow } from '../core/git/checkout.ts'
import { dotenvName, fieldsOf } from '../steps/fields.ts'

/**
 * Files that a later job or GitLab reads. Each is made anew: what a commit, a build or an older job
 * left at its path is removed and never written through, so that a link leads nowhere.
 */
export interface ReportFile {
  name: string
  write(text: string): Promise<void>
}

/** Removes what is at the path now, so that a command that fails leaves nothing of before there. */
export async function freshReport(cwd: string, flag: string, name: string): Promise<ReportFile> {
  if (name === '') {
    throw new StepError('INPUT_INVALID', `\`${flag}\` names no file`, {
      hint: 'Name a file, or leave it out.',
    })
  }
  const explained = (error: unknown) =>
    error instanceof StepError ? error : explain(`writing ${name}`, error)
  const clear = async () => {
    const path = resolve(cwd, name)
    const found = await lstat(path).catch(unlessMissing)
    if (found) refuseOthers(found, name)
    await refuseOutside(cwd, name)
    if (found) await unlink(path).catch(unlessMissing)
  }
  await clear().catch((error: unknown) => {
    throw explained(error)
  })
  return {
    name,
    async write(text) {
      try {
        await clear()
        await writeNew(resolve(cwd, name), text)
      } catch (error) {
        throw explained(error)
      }
    },
  }
}

/** Readable for the runner's other user, writable for nobody else: jobs may run with umask 0. */
async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o644)
  try {
    await file.writeFile(text).finally(() => file.close())
  } catch (error) {
    await unlink(path).catch(() => {})
    throw error
  }
}

/** A file or a link is replaced, nothing else: a folder has what nobody asked to remove. */
function refuseOthers(found: Stats, name: string): void {
  if (found.isFile() || found.isSymbolicLink()) return
  const kind = found.isDirectory() ? 'a folder, not a file' : 'not a file'
  throw new StepError('INPUT_INVALID', `${name} is ${kind}`, {
    hint: 'Name a file that may be replaced, or one that is not there yet.',
  })
}

/**
 * What a repository brings along cannot lead a report out of the working folder: a linked folder on
 * the way is followed inside it only. An absolute path to another place is the caller's own word.
 */
async function refuseOutside(cwd: string, name: string): Promise<void> {
  const root = await realpath(cwd)
  const parent = dirname(resolve(cwd, name))
  const real = await realpath(parent).catch(unlessMissing)
  if (real === undefined || isBelow(real, root)) return
  if (isAbsolute(name) && !(await passesThrough(root, parent))) return
  throw new StepError('INPUT_INVALID', `${name} is outside of the working folder, in ${real}`, {
    hint: 'Name a file in the working folder, or another place by its absolute path without links.',
  })
}

/** Whether a folder on the way to this one is in the root. */
async function passesThrough(root: string, folder: string): Promise<boolean> {
  for (let at = folder; at !== dirname(at); at = dirname(at)) {
    if (isBelow(await realpath(at), root)) return true
  }
  return false
}

function unlessMissing(error: unknown): undefined {
  if (errorCodeOf(error) !== 'ENOENT') throw error
}

/**
 * The outputs that a step declares, as `CROSSCLOUD_…` lines of a dotenv report; the next step reads
 * them as inputs. Lists are for `--json`: GitLab allows 5 KB in all.
 */
export function dotenvLines(schema: z.ZodObject | undefined, result: object): string {
  if (!schema) return ''
  const outputs = result as Record<string, unknown>
  const lines = fieldsOf(schema, 'output').flatMap((field) => {
    const [name, value] = [dotenvName(field), outputs[field.name]]
    if (name === undefined || value === undefined) return []
    const text = String(value)
    if (!/[\r\n]/.test(text)) return [`${name}=${text}\n`]
    throw new StepError('INTERNAL', `output ${field.name} has a line break; dotenv cannot carry it`)
  })
  return lines.join('')
}
