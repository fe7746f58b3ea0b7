import { isVariable, type RevisionKey } from '../../config/rules/revision.ts'
import type { RenderedFile } from '../../config/template/render.ts'
import { SET_AND_LIST } from '../../core/settings/settings-variables.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { slowHashOf } from '../../targets/labels.ts'
import type { PlacedFile } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import type { EnvironmentConfig } from './environment-config.ts'

/** The files of `container.secrets`, what stands in their way, and the variables they are made of. */
export interface SecretFiles {
  files: (RenderedFile & PlacedFile)[]
  problems: string[]
  /** What to do about them. */
  hints: string[]
  /** As parts of a config revision. */
  variables: Map<string, RevisionKey>
}

/** Each secret is a file with its value and nothing else. */
export function readSecretFiles(
  { name: environment, secrets }: EnvironmentSettings,
  config: EnvironmentConfig,
  context: Context,
): SecretFiles {
  const found: SecretFiles = { files: [], problems: [], hints: [], variables: new Map() }
  for (const { name, source, path, mode, uid, gid } of secrets) {
    const template = `container.secrets.${name}`
    const read =
      'key' in source
        ? readKey(source.key, environment, config)
        : readVariable(source.environment, context)
    if ('problem' in read) {
      found.problems.push(`${template}: ${read.problem}`)
      if (!found.hints.includes(read.hint)) found.hints.push(read.hint)
      continue
    }
    const { key, value } = read
    if (isVariable(key)) found.variables.set(key, { value, secret: true, kept: null })
    const content = Buffer.from(value)
    const slowHash = slowHashOf(content)
    found.files.push({ path, content, mode, uid, gid, template, keys: [key], slowHash })
  }
  return found
}

type Read = { key: string; value: string } | { problem: string; hint: string }

/** A key that nothing says to be secret would be kept in clear by the ledger, and shown. */
function readKey(
  key: string,
  environment: string,
  { values, locked, isSecret }: EnvironmentConfig,
): Read {
  const reason = locked.get(key)
  if (reason !== undefined) {
    const hint = 'Give the key these values were encrypted with in CROSSCLOUD_CONFIG_KEY.'
    return { problem: `${key} cannot be decrypted: ${reason}`, hint }
  }
  const value = values.get(key)
  if (value === undefined) {
    const hint = `\`crosscloud config set --env ${environment} ${key} -\` sets it from standard input.`
    return { problem: `${key} is not set in ${environment}`, hint }
  }
  if (isSecret(key)) return { key, value }
  return {
    problem: `nothing says that ${key} is secret`,
    hint: `Encrypt it, \`crosscloud config set --env ${environment} ${key} - --secret\`, or mark it in the schema.`,
  }
}

function readVariable(name: string, { variable, secrets }: Context): Read {
  const value = variable(name)
  if (!value) {
    const state = value === undefined ? 'not set' : 'empty'
    return { problem: `the variable ${name} is ${state}`, hint: SET_AND_LIST }
  }
  secrets.add(value)
  return { key: `$${name}`, value }
}
