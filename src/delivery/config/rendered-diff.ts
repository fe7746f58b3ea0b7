import { lstat, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { diffFiles, type FilePair } from '../../config/rules/file-diff.ts'
import { isVariable } from '../../config/rules/revision.ts'
import type { RenderedFile } from '../../config/template/render.ts'
import { errorCodeOf, isStepError, StepError } from '../../core/errors.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { type ReadPath, readInstanceFile } from '../../targets/instance-files.ts'
import { continueWith, failureOf, isSuccess } from '../../targets/responses.ts'
import { slotOf } from '../../targets/slot.ts'
import { fillSlotValues } from '../../targets/slot-values.ts'
import type { Context } from '../context.ts'
import type { Rendering } from './rendering.ts'

/** How what would be written differs from what is there; no secret is in it. */
export interface RenderedDiff {
  /** Paths that differ. */
  changed: string[]
  /** Unified diffs, a line each. */
  lines: string[]
}

const LARGEST = 16 * 1024 * 1024

/** Against files below a folder. */
export async function diffFolder(folder: string, rendering: Rendering): Promise<RenderedDiff> {
  return compare(rendering, (path) => readBelow(folder, path))
}

/** Against what runs now, on each host of the environment. */
export async function diffRunning(
  rendering: Rendering,
  environment: EnvironmentSettings,
  context: Context,
): Promise<RenderedDiff> {
  const { containerName } = environment
  const target = await context.target(environment)
  const running = await target.instances({ roles: ['current'] })
  const responses = await continueWith(running, async ([instance], host) => {
    if (instance) {
      const read = readFrom((path) => target.read(instance, path))
      const number = slotOf(instance.labels)
      return compare(rendering, read, (text) => fillSlotValues(text, environment, number))
    }
    throw new StepError('NOT_FOUND', `host ${host} has no container ${containerName}`, {
      hint: 'Nothing was deployed there yet. `--check` looks at the values alone.',
    })
  })
  const found = responses.filter(isSuccess)
  const lines = found.flatMap(({ host, value }) =>
    value.changed.length > 0 ? [`host ${host}`, ...value.lines] : [],
  )
  const failure = failureOf(responses)
  if (failure) {
    for (const line of lines) context.log.info(line)
    throw failure
  }
  return { changed: [...new Set(found.flatMap(({ value }) => value.changed))], lines }
}

async function compare(
  rendering: Rendering,
  read: (path: string) => Promise<Buffer | undefined>,
  fill: (text: Buffer) => Buffer = (text) => text,
): Promise<RenderedDiff> {
  const { files, config } = rendering
  const masked = new Map(renderMasked(rendering).map((file) => [file.path, file]))
  const pairs: FilePair[] = []
  for (const { path, content, keys } of files) {
    pairs.push({
      path,
      before: await read(path),
      after: fill(content),
      masked: masked.has(path) ? fill(masked.get(path)?.content as Buffer).toString() : undefined,
      holdsSecrets: keys.some((key) => isVariable(key) || config.isSecret(key)),
    })
  }
  const different = await diffFiles(pairs)
  return {
    changed: different.map(({ path }) => path),
    lines: different.flatMap(({ lines }) => lines),
  }
}

/** The same files with marks for secrets; none where a template works on a secret's text. */
function renderMasked({ config, render }: Rendering): RenderedFile[] {
  const snapshot = new Map(config.values)
  for (const [key, stored] of config.stored) {
    if (config.isSecret(key)) snapshot.set(key, config.show(key, stored))
  }
  try {
    return render(snapshot).files
  } catch (error) {
    if (isStepError(error, 'INPUT_INVALID')) return []
    throw error
  }
}

async function readBelow(folder: string, path: string): Promise<Buffer | undefined> {
  const full = join(folder, path)
  try {
    const status = await lstat(full)
    if (status.isFile() && status.size <= LARGEST) return await readFile(full)
    throw new StepError('INPUT_INVALID', `${full} is not a plain file`)
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function readFrom(read: ReadPath) {
  return async (path: string): Promise<Buffer | undefined> => {
    try {
      return await readInstanceFile(read, path, LARGEST)
    } catch (error) {
      if (isStepError(error, 'NOT_FOUND')) return undefined
      throw error
    }
  }
}
