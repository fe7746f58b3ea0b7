import { createHash } from 'node:crypto'
import type { PlacedFile } from './target.ts'

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

/** The label by which a later run sees whether the rendered files are still as they were placed. */
export function configFilesLabel(files: readonly PlacedFile[]): string {
  const hashes = files.map(({ path, content }) => [path, hashOf(content)])
  return JSON.stringify(Object.fromEntries(hashes))
}

/** The SHA-256 of a placed file, as that label has it. */
export function hashOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
