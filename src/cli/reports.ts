import { open, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { z } from 'zod'
import { explain, StepError } from '../core/errors.ts'
import { dotenvName, fieldsOf } from '../steps/fields.ts'

/**
 * Files that a later job or GitLab reads. Each is made anew: what a commit, a build or an older job
 * left at its path is removed and never written through, so that a link leads nowhere.
 */
export interface ReportFile {
  path: string
  write(text: string): Promise<void>
}

/** Removes what is at the path now, so that a command that fails leaves nothing of before there. */
export async function freshReport(cwd: string, name: string): Promise<ReportFile> {
  const path = resolve(cwd, name)
  const telling = (error: unknown) => explain(`writing ${name}`, error)
  const clear = async () => rm(path, { recursive: true, force: true })
  await clear().catch((error: unknown) => {
    throw telling(error)
  })
  return {
    path,
    async write(text) {
      try {
        await clear()
        // Readable for the runner's other user, writable for nobody else: jobs may run with umask 0.
        const file = await open(path, 'wx', 0o644)
        await file.writeFile(text).finally(() => file.close())
      } catch (error) {
        throw telling(error)
      }
    },
  }
}

/**
 * The outputs that a step declares, as `CROSSCLOUD_…` lines of a dotenv report; the next step reads
 * them as inputs. Lists are for `--json`: GitLab allows 5 KB in all.
 */
export function dotenvLines(schema: z.ZodObject, outputs: Record<string, unknown>): string {
  const lines = fieldsOf(schema, 'output').flatMap((field) => {
    const [name, value] = [dotenvName(field), outputs[field.name]]
    if (name === undefined || value === undefined) return []
    const text = String(value)
    if (!/[\r\n]/.test(text)) return [`${name}=${text}\n`]
    throw new StepError('INTERNAL', `output ${field.name} has a line break; dotenv cannot carry it`)
  })
  return lines.join('')
}
