import { isVariable, type RevisionKey } from '../../config/rules/revision.ts'
import type { RenderedFile } from '../../config/template/render.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { slowHashOf } from '../../targets/labels.ts'
import type { PlacedFile } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import type { EnvironmentConfig } from './environment-config.ts'

/** The files of `container.secrets`, what stands in their way, and the variables they are made of. */
export interface SecretFiles {
  files: (RenderedFile & PlacedFile)[]
  problems: string[]
  /** As parts of a config revision. */
  variables: Map<string, RevisionKey>
}

/** Each secret is a file with its value and nothing else. */
export function readSecretFiles(
  { name: environment, secrets }: EnvironmentSettings,
  config: EnvironmentConfig,
  context: Context,
): SecretFiles {
  const found: SecretFiles = { files: [], problems: [], variables: new Map() }
  for (const { name, source, path, mode, uid, gid } of secrets) {
    const template = `container.secrets.${name}`
    const read =
      'key' in source
        ? readKey(source.key, environment, config)
        : readVariable(source.environment, context)
    if ('problem' in read) {
      found.problems.push(`${template}: ${read.problem}`)
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

type Read = { key: string; value: string } | { problem: string }

/** A key that nothing says to be secret would be kept in clear by the ledger, and shown. */
function readKey(
  key: string,
  environment: string,
  { values, locked, isSecret }: EnvironmentConfig,
): Read {
  const reason = locked.get(key)
  if (reason !== undefined) return { problem: `${key} cannot be decrypted: ${reason}` }
  const value = values.get(key)
  if (value === undefined) return { problem: `${key} is not set in ${environment}` }
  if (isSecret(key)) return { key, value }
  return {
    problem: `nothing says that ${key} is secret: encrypt it (\`config seal\`), or mark it in the schema`,
  }
}

function readVariable(name: string, { variable, secrets }: Context): Read {
  const value = variable(name)
  if (!value) return { problem: `the variable ${name} is not set` }
  secrets.add(value)
  return { key: `$${name}`, value }
}
