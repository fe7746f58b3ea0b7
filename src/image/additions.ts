import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { contentTime } from '../core/content-time.ts'
import { digestFile } from '../core/digest.ts'
import { explain, StepError, throwIfCancelled } from '../core/errors.ts'
import type { LayerFile, LayerPlan } from './layers.ts'
import { tarPath } from './paths.ts'

/** A file or folder of the project that goes into the image beside the WAR. */
export interface Addition {
  /** Absolute path here. */
  from: string
  /** Absolute path inside the image. */
  to: string
}

/**
 * A layer for each addition, in their order. The owner is root; files that their owner may execute
 * have mode 0755, others 0644. Symbolic links and devices are refused, and names that a layer or
 * file manifest cannot hold.
 */
export async function planAdditions(
  additions: readonly Addition[],
  signal?: AbortSignal,
): Promise<LayerPlan[]> {
  const plans: LayerPlan[] = []
  for (const { from, to } of additions) {
    const root = tarPath(to)
    const files: LayerFile[] = []
    await collect(from, root, files, signal)
    if (files.length === 0) {
      throw new StepError('INPUT_INVALID', `${from} holds no file`, {
        hint: 'Add the files that belong in the image, or take this addition out.',
      })
    }
    if (to.endsWith('/') && files[0]?.path === root) {
      throw new StepError('INPUT_INVALID', `${to} ends as a folder does, and ${from} is a file`, {
        hint: `Name the file itself: ${to}${basename(from)}.`,
      })
    }
    plans.push({ name: 'additions', root, files })
  }
  return plans
}

async function collect(
  path: string,
  inside: string,
  files: LayerFile[],
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfCancelled(signal)
  const problem = nameProblem(inside)
  if (problem) {
    throw new StepError('INPUT_INVALID', `adding ${JSON.stringify(path)}: its name ${problem}`, {
      hint: 'Rename it.',
    })
  }
  const status = await lstat(path).catch((error: unknown) => {
    throw explain(`adding ${path}`, error)
  })
  if (status.isDirectory()) {
    for (const name of (await readdir(path)).sort()) {
      await collect(join(path, name), `${inside}/${name}`, files, signal)
    }
  } else if (status.isFile()) {
    files.push(await layerFile(path, inside, status.mode & 0o100 ? 0o755 : 0o644, signal))
  } else {
    throw new StepError('INPUT_INVALID', `${path} is not a plain file`, {
      hint: 'Symbolic links and devices cannot be added. Name what the link leads to.',
    })
  }
}

function nameProblem(inside: string): string | undefined {
  const name = basename(inside)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
  if (/[\x00-\x1f\x7f]/.test(name)) return 'has a control character'
  // OCI image-spec, layer.md, "Whiteouts".
  return name.startsWith('.wh.') ? 'would be a deletion mark in a layer' : undefined
}

async function layerFile(
  path: string,
  inside: string,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<LayerFile> {
  const { size, sha256 } = await digestFile(path, signal)
  return {
    path: inside,
    mode,
    time: contentTime(sha256),
    identity: `file ${size} ${sha256}`,
    source: {
      name: inside,
      method: 'stored',
      crc32: undefined,
      size,
      storedSize: size,
      read: () => readUnchanged(path, sha256),
    },
  }
}

/** The cache key uses the digest computed before: other bytes must not get into that layer. */
async function* readUnchanged(path: string, sha256: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    yield chunk
  }
  if (hash.digest('hex') === sha256) return
  throw new StepError('VERIFY_FAILED', `${path} was changed while it was read`, {
    hint: 'Bake again.',
  })
}
