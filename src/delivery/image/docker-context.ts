import { readFile, realpath } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { type ContextEntry, listContext, packContext, RESERVED } from '../../builder/context.ts'
import { IGNORE_FILE, readIgnoreFile, readOwnFile } from '../../builder/ignore.ts'
import { namesSecret } from '../../config/rules/secrecy.ts'
import { errorCodeOf, StepError } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'
import { passwordIn, type Secrets } from '../../core/secrets.ts'
import type { Context } from '../context.ts'
import { refuseForeign } from './bake-checks.ts'

/** What a build is given: its context, and where its parts are in it. */
export interface BuildContext {
  entries: ContextEntry[]
  /** Path of the Dockerfile in the context, and its text. */
  dockerfile: string
  text: string
  args: Record<string, string>
}

export interface ContextInputs {
  context?: string | undefined
  dockerfile?: string | undefined
  buildArgs: readonly string[]
}

/** The build argument that says where the WAR is in the context. */
export const WAR_ARGUMENT = 'WAR'
/** Where it is when the context does not hold it. */
const WAR_PLACE = `${RESERVED}/app.war`

/** Lists what is sent; nothing is sent yet. The WAR goes in once, ignored or not. */
export async function readBuildContext(
  inputs: ContextInputs,
  war: string,
  { cwd, signal, secrets }: Pick<Context, 'cwd' | 'signal' | 'secrets'>,
): Promise<BuildContext> {
  const args = readArguments(inputs.buildArgs, secrets)
  const folder = resolve(cwd, inputs.context ?? '.')
  const dockerfile = inputs.dockerfile
    ? resolve(cwd, inputs.dockerfile)
    : join(folder, 'Dockerfile')
  for (const path of [folder, dockerfile]) refuseForeign(path, cwd)
  const content = await readDockerfile(dockerfile)
  const place = isBelow(dockerfile, folder)
    ? inContext(dockerfile, folder)
    : `${RESERVED}/Dockerfile`
  const ignoreFile = join(folder, IGNORE_FILE)
  const rules = await readIgnoreFile([`${dockerfile}.dockerignore`, ignoreFile])
  const listed = await listContext(folder, rules, signal).catch((error: unknown) => {
    throw explained(error, `build context ${folder}`)
  })
  const entries = listed.filter(({ path }) => path !== place && path !== IGNORE_FILE)
  entries.push({ kind: 'text', path: place, content })
  // The engine leaves these two out again where the file says so.
  const ignored = await readOwnFile(ignoreFile)
  if (ignored) entries.push({ kind: 'text', path: IGNORE_FILE, content: ignored })
  const source = await realpath(war)
  const known = entries.find((entry) => entry.kind === 'file' && entry.source === war)
  if (!known) entries.push({ kind: 'file', path: WAR_PLACE, source })
  args[WAR_ARGUMENT] = known?.path ?? WAR_PLACE
  return { entries, dockerfile: place, text: content.toString(), args }
}

export const packBuildContext = ({ entries }: BuildContext, signal: AbortSignal) =>
  packContext(entries, signal)

const inContext = (path: string, folder: string) => relative(folder, path).split(sep).join('/')

async function readDockerfile(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw explained(error, `Dockerfile ${path}`)
  })
}

function explained(error: unknown, what: string): unknown {
  const code = errorCodeOf(error)
  if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EISDIR') return error
  return new StepError('NOT_FOUND', `${what} does not exist`, {
    hint: `image.context is a folder, and image.dockerfile a file, from the folder of crosscloud.yml; without image.dockerfile it is Dockerfile in ${dirname(what)}.`,
    cause: error,
  })
}

/** `NAME=value`. Values are in the image's history, for everybody who has it. */
function readArguments(
  written: readonly string[],
  { mask }: Pick<Secrets, 'mask'>,
): Record<string, string> {
  const args: Record<string, string> = {}
  for (const text of written) {
    const [, name, value = ''] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(text) ?? []
    if (name === undefined) {
      throw new StepError('INPUT_INVALID', 'a build argument is not written NAME=value', {
        hint: 'A name has letters, digits and underscores: REVISION=1.4.2.',
      })
    }
    if (name === WAR_ARGUMENT) {
      throw new StepError('INPUT_INVALID', `build argument ${name}: crosscloud sets it itself`, {
        hint: 'It is the path of the WAR in the build context.',
      })
    }
    const holdsSecret = passwordIn(value) !== undefined || mask(value) !== value
    if (namesSecret(name) || holdsSecret) {
      const what = namesSecret(name) ? 'looks like a secret' : 'holds a password'
      throw new StepError('INPUT_INVALID', `build argument ${name} ${what}`, {
        hint: 'Everybody who has the image can read build arguments in its history. Keep secrets in the config centre; if this is none, give it another name.',
      })
    }
    args[name] = value
  }
  return args
}
