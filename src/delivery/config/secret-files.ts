import { isVariable, type RevisionKey } from '../../config/rules/revision.ts'
import type { RenderedFile } from '../../config/template/render.ts'
import { withoutControls } from '../../core/plain-text.ts'
import { SET_AND_LIST } from '../../core/settings/settings-variables.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { slowHashOf } from '../../targets/labels.ts'
import { type ContainerSecret, isUnreadable } from '../../targets/secret-settings.ts'
import type { PlacedFile } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import type { EnvironmentConfig } from './environment-config.ts'

/** The files of `container.secrets`, what stands in their way, and the variables they are made of. */
export interface SecretFiles {
  files: (RenderedFile & PlacedFile)[]
  problems: string[]
  /** What to do about them. */
  hints: string[]
  /** Of files that the container's user cannot read. */
  warnings: string[]
  /** As parts of a config revision. */
  variables: Map<string, RevisionKey>
}

/** Each secret is a file with its value and nothing else. `user` is that of the image. */
export function readSecretFiles(
  environment: EnvironmentSettings,
  config: EnvironmentConfig,
  context: Context,
  user = '',
): SecretFiles {
  const found: SecretFiles = {
    ...{ files: [], problems: [], hints: [], warnings: [] },
    variables: new Map(),
  }
  for (const secret of environment.secrets) {
    const { name, source, path, mode, uid, gid, user: own } = secret
    const template = `container.secrets.${name}`
    if (isUnreadable(secret, own ?? user)) {
      found.warnings.push(unreadable(template, secret, { own, image: user }))
    }
    const read =
      'key' in source
        ? readKey(source.key, environment.name, config)
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

function unreadable(
  template: string,
  { path, mode, uid, gid }: ContainerSecret,
  { own, image }: { own: string | undefined; image: string },
): string {
  const whose =
    own === undefined
      ? `the image's user, ${withoutControls(image)},`
      : `the container's user, ${own},`
  const octal = mode.toString(8).padStart(4, '0')
  return `${template}: ${path} belongs to ${uid}:${gid} with the mode ${octal}, and ${whose} cannot read it; set its uid or gid, as a number, or another mode`
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
