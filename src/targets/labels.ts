import { createHash, randomBytes, scryptSync } from 'node:crypto'
import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { containerPath } from '../core/settings/schema.ts'
import type { Instance, PlacedFile } from './target.ts'

/**
 * What an instance is, kept on the instance itself: labels of a container or of a Swarm service. Of
 * these only application and environment are looked for; a target whose labels are short, like
 * Kubernetes, keeps the others as annotations.
 */
export const instanceLabels = {
  application: 'io.crosscloud.application',
  environment: 'io.crosscloud.environment',
  version: 'io.crosscloud.version',
  deployment: 'io.crosscloud.deployment',
  /** `ledger:token` of the lock it was deployed under; a younger one of the same ledger wins. */
  lock: 'io.crosscloud.lock',
  configRevision: 'io.crosscloud.config.revision',
  /** JSON: path → SHA-256 of each rendered file. */
  configFiles: 'io.crosscloud.config.files',
} as const

/** What labels say of where an instance belongs, for commands that hints name. */
export function placeOf(labels: Readonly<Record<string, string>>) {
  const { application, environment, version } = instanceLabels
  return {
    application: labels[application],
    environment: labels[environment],
    version: labels[version],
  }
}

/** The label by which a later run sees whether the rendered files are still as they were placed. */
export function configFilesLabel(files: readonly PlacedFile[]): string {
  const hashes = files.map(({ path, content, slowHash }) => [path, slowHash ?? hashOf(content)])
  return JSON.stringify(Object.fromEntries(hashes))
}

/** Whether a file is as that label has it: `hash` is the label's part for its path. */
export function isAsLabelled(content: Buffer, hash: unknown): boolean {
  const [, salt] = SLOW.exec(String(hash)) ?? []
  return hash === (salt === undefined ? hashOf(content) : slow(content, salt))
}

/** For a file that is one secret: salted, and slow to try guesses with. */
export function slowHashOf(content: Buffer): string {
  return slow(content, randomBytes(16).toString('hex'))
}

const SLOW = /^scrypt:([0-9a-f]{32}):/

/** https://www.rfc-editor.org/rfc/rfc7914 */
function slow(content: Buffer, salt: string): string {
  return `scrypt:${salt}:${scryptSync(content, salt, 32).toString('hex')}`
}

function hashOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

const fileHashes = z.record(containerPath, z.string().regex(/^[\w:]{1,300}$/))

/**
 * Path → hash of the files that a deployment placed in an instance. INPUT_INVALID, naming the
 * instance, when its label is not as a deployment writes it.
 */
export function placedFilesOf({
  host,
  name,
  labels,
}: Pick<Instance, 'host' | 'name' | 'labels'>): Readonly<Record<string, string>> {
  const text = labels[instanceLabels.configFiles]
  if (text === undefined) return {}
  try {
    return fileHashes.parse(JSON.parse(text))
  } catch (cause) {
    throw new StepError(
      'INPUT_INVALID',
      `${name} on ${host}: its label ${instanceLabels.configFiles} is not as a deployment writes it`,
      { hint: 'See who made this container: `docker inspect`. Deploy the release again.', cause },
    )
  }
}
