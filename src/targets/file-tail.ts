import { posix } from 'node:path'
import { StepError } from '../core/errors.ts'
import { eachEntry, type ReadPath } from './instance-files.ts'
import { lines } from './lines.ts'

export interface FileTail {
  /** Absolute path of the file that was read. */
  path: string
  lines: string[]
}

export interface TailOptions {
  /** How many of the last lines. */
  lines: number
  /** Which lines count; default: all. */
  matches?: ((line: string) => boolean) | undefined
  /** Which files may be read; default: all. */
  allows?: ((path: string) => boolean) | undefined
  signal: AbortSignal
}

/**
 * The end of a file of an instance. The last part of the path may have a `*`: then the file that was
 * written last counts. The whole file, or the whole folder, is read on the way. Links are not followed:
 * give the real path of the folder. NOT_FOUND when there is none.
 */
export async function readTail(
  read: ReadPath,
  path: string,
  options: TailOptions,
): Promise<FileTail> {
  const found = await readHere(read, path, options)
  if (found) return found
  throw new StepError('NOT_FOUND', `there is no file ${path}`, {
    hint: posix.basename(path).includes('*')
      ? 'The folder has no file of such a name.'
      : 'It may have a date in its name.',
  })
}

async function readHere(
  read: ReadPath,
  path: string,
  { lines: most, matches = () => true, allows = () => true, signal }: TailOptions,
): Promise<FileTail | undefined> {
  const [folder, name] = [posix.dirname(path), posix.basename(path)]
  const isPattern = name.includes('*')
  const fits = isPattern ? patternOf(name) : (found: string) => found === name
  let best: (FileTail & { time: number }) | undefined
  await eachEntry(await read(isPattern ? folder : path), signal, async (entry) => {
    const { name: entryPath, type, mtime } = entry.header
    const parts = entryPath.replace(/^(?:\.?\/)+/, '').split('/')
    const found = parts.at(-1) ?? ''
    const full = posix.join(folder, found)
    const isHere = parts.length === (isPattern ? 2 : 1)
    if (type !== 'file' || !isHere || !fits(found) || !allows(full)) return false
    const time = mtime?.getTime() ?? 0
    const isNewer =
      best === undefined || time > best.time || (time === best.time && full > best.path)
    if (!isNewer) return false
    best = {
      path: full,
      time,
      lines: await lastLines(entry as AsyncIterable<Buffer>, most, matches),
    }
    return !isPattern
  })
  return best && { path: best.path, lines: best.lines }
}

/** `localhost.*.log`; nothing else has a meaning of its own. */
function patternOf(pattern: string): (name: string) => boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  const expression = new RegExp(`^${parts.join('.*')}$`)
  return (name) => expression.test(name)
}

async function lastLines(
  content: AsyncIterable<Buffer>,
  most: number,
  matches: (line: string) => boolean,
): Promise<string[]> {
  const last: string[] = []
  for await (const { text } of lines(asPieces(content))) {
    if (!matches(text)) continue
    last.push(text)
    if (last.length > most) last.shift()
  }
  return last
}

async function* asPieces(content: AsyncIterable<Buffer>) {
  for await (const bytes of content) yield { stream: 1, bytes }
}
