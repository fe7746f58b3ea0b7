import { readFile, realpath, stat } from 'node:fs/promises'
import { extname } from 'node:path'
import { errorCodeOf, explain, StepError, throwIfCancelled } from '../../../core/errors.ts'
import { replaceFile } from '../../../core/files/atomic-file.ts'
import { checkChanges, checkExpected, keyProblem, selectBelow } from '../keys.ts'
import type { ConfigChange, ConfigSnapshot, ConfigStore } from '../store.ts'
import type { KeyDocument } from './document.ts'
import { withFileLock } from './lock.ts'
import { parseProperties } from './properties.ts'
import { parseTree } from './tree.ts'

type Parse = (text: string) => Promise<KeyDocument>

const LARGEST = 16 * 1024 * 1024

const formats: Record<string, Parse> = {
  '.yaml': async (text) => parseTree(await import('yaml'), text, false),
  '.yml': async (text) => parseTree(await import('yaml'), text, false),
  '.json': async (text) => parseTree(await import('yaml'), text, true),
  '.properties': async (text) => parseProperties(text),
}

export interface FileStoreOptions {
  signal?: AbortSignal | undefined
}

/**
 * A file as config centre: `.yaml`, `.yml`, `.json` or `.properties`, in UTF-8. Values are texts as
 * they are written (007, 1.10, yes). A lock file beside it admits one writer at a time; a change
 * replaces the file atomically and keeps mode, owner and, in YAML and properties, comments.
 */
export function openFileStore(path: string, options: FileStoreOptions = {}): ConfigStore {
  const { signal } = options
  const name = `file:${path}`
  const parse = formats[extname(path).toLowerCase()]
  if (parse === undefined) {
    throw new StepError('INPUT_INVALID', `${path}: not a file of keys`, {
      hint: 'A config file ends in .yaml, .yml, .json or .properties.',
    })
  }
  const explained = (error: unknown) => translate(name, path, error)
  const load = async () => {
    throwIfCancelled(signal)
    return parseChecked(path, parse, await readText(path))
  }
  return {
    name,
    async snapshot(roots) {
      const { entries } = await load().catch((error: unknown) => {
        throw explained(error)
      })
      return selectBelow(entries, roots)
    },
    async change(changes, expect = []) {
      checkChanges(changes, expect)
      try {
        const real = await realpath(path)
        await withFileLock(
          real,
          async () => {
            const document = await load()
            checkExpected(name, document.entries, expect)
            const text = apply(document, changes)
            await check(path, parse, text, document.entries)
            throwIfCancelled(signal)
            await replace(real, text)
          },
          { signal },
        )
      } catch (error) {
        throw explained(error)
      }
    },
    async close() {},
  }
}

/** Keys as the text of a new file; the format is named by its ending, with the dot. */
export async function formatKeys(ending: string, values: ConfigSnapshot): Promise<string> {
  const parse = formats[ending]
  if (parse === undefined) throw new StepError('INTERNAL', `no format ${ending}`)
  const document = await parse(ending === '.json' ? '{}' : '')
  for (const [key, value] of values) document.set(key, value)
  const text = document.toString()
  await check(`the ${ending} file`, parse, text, values)
  return text
}

/** The endings of files of keys. */
export function keyFileEndings(): string[] {
  return Object.keys(formats)
}

async function readText(path: string): Promise<string> {
  const { size } = await stat(path)
  if (size > LARGEST) throw new StepError('INPUT_INVALID', `${path}: larger than 16 MiB`)
  const bytes = await readFile(path)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new StepError('INPUT_INVALID', `${path}: is not UTF-8 text`, {
      hint: 'Save the file as UTF-8.',
    })
  }
}

/** Errors of the parsers begin with `:LINE:` or `:` (see documentError). */
async function parseChecked(path: string, parse: Parse, text: string): Promise<KeyDocument> {
  let document: KeyDocument
  try {
    document = await parse(text)
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    throw new StepError(error.code, `${path}${error.message}`, { hint: 'Correct the file.' })
  }
  const problems: string[] = []
  for (const [key, value] of document.entries) {
    const problem = keyProblem(key)
    if (problem) problems.push(`${path}: key ${JSON.stringify(key)}: ${problem}`)
    if (/\p{Cs}/u.test(value)) problems.push(`${path}: key ${key}: the value is not valid Unicode`)
  }
  if (problems.length === 0) return document
  throw new StepError('INPUT_INVALID', problems.join('\n'), { hint: 'Correct the file.' })
}

function apply(document: KeyDocument, changes: readonly ConfigChange[]): string {
  const wanted = new Map(document.entries)
  for (const { key, value } of changes) {
    if (value === document.entries.get(key)) continue
    if (value === null) document.remove(key)
    else document.set(key, value)
    if (value === null) wanted.delete(key)
    else wanted.set(key, value)
  }
  document.entries = wanted
  return document.toString()
}

/** Parses the new text before it is written: it must have exactly the wanted values. */
async function check(
  path: string,
  parse: Parse,
  text: string,
  wanted: ReadonlyMap<string, string>,
): Promise<void> {
  const { entries } = await parseChecked(path, parse, text)
  const same = entries.size === wanted.size && [...wanted].every(([k, v]) => entries.get(k) === v)
  if (same) return
  throw new StepError('INTERNAL', `${path}: the change cannot be written in this format`, {
    hint: 'Change the file by hand, and report this as a bug of crosscloud.',
  })
}

async function replace(real: string, text: string): Promise<void> {
  const { mode, uid, gid } = await stat(real)
  await replaceFile(real, text, { mode: mode & 0o7777, owner: { uid, gid } })
}

function translate(name: string, path: string, error: unknown): StepError {
  if (error instanceof StepError) return error
  const code = errorCodeOf(error)
  if (code === 'ENOENT') {
    return new StepError('NOT_FOUND', `${name}: there is no file ${path}`, {
      hint: 'Check config: of this environment in crosscloud.yml, or create the file; an empty one will do.',
      cause: error,
    })
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new StepError('UNAUTHORIZED', `${name}: ${path} may not be read or written`, {
      hint: 'Check the owner and the mode of the file and its folder.',
      cause: error,
    })
  }
  if (code === 'EISDIR') {
    return new StepError('INPUT_INVALID', `${name}: ${path} is a folder`, {
      hint: 'Name the file.',
    })
  }
  return explain(name, error)
}
