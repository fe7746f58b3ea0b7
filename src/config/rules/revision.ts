import { createHmac, hkdfSync } from 'node:crypto'
import { type Digest, sha256 } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import { compareBytes } from '../store/keys.ts'
import type { RenderedFile } from '../template/render.ts'
import type { ConfigTemplate } from '../template/resources.ts'

/** The input of a deployment's configuration. Holds values: never store or print it. */
export interface RevisionInput {
  /** The keys that were used. */
  keys: ReadonlyMap<string, RevisionKey>
  /** Template bytes by path. */
  templates: ReadonlyMap<string, Uint8Array>
  files: readonly Pick<RenderedFile, 'path' | 'content' | 'mode' | 'uid' | 'gid' | 'keys'>[]
}

/** A variable of the deploying process among the keys: those of a config centre begin with a slash. */
export const isVariable = (key: string): boolean => key.startsWith('$')

export interface RevisionKey {
  /** In clear. */
  value: string
  secret: boolean
  /** The form that may be kept: the value, or encrypted; null for a secret without a key ring. */
  kept: string | null
}

/**
 * The ledger's record of a revision: enough to render it again. A secret is kept encrypted, or not
 * at all. A hash of a value, salted or not, would let readers of the ledger guess short passwords.
 * So fingerprints are HMACs with a key that is not in the ledger. Without such a key there are
 * none, and secrets are only known to have "perhaps changed".
 */
export interface RevisionDescription {
  version: 2
  /** Identifies the fingerprint key; null without a key. */
  keyId: string | null
  /** Sorted by key. */
  keys: Record<string, KeptKey>
  /** Digest by path; templates hold no secrets. */
  templates: Record<string, string>
  files: { path: string; mode: string; uid: number; gid: number; fingerprint: string | null }[]
}

export type KeptKey = { value: string } | { secret: string | null; fingerprint: string | null }

export interface RevisionChanges {
  added: string[]
  removed: string[]
  changed: string[]
  /** In both, but the fingerprints are absent or made with different keys. */
  unknown: string[]
}

const LEAST_SECRET = 16

/**
 * The key for fingerprints, from a secret of at least 16 bytes that is kept beside the values (in
 * the config centre, or the key for encrypted values), never in the ledger.
 */
export function fingerprintKey(secret: string | Uint8Array): Buffer {
  const bytes = typeof secret === 'string' ? Buffer.from(secret) : secret
  if (bytes.length < LEAST_SECRET) {
    throw new StepError(
      'INPUT_INVALID',
      `a fingerprint secret has at least ${LEAST_SECRET} bytes`,
      {
        hint: 'Make one with: openssl rand -hex 32',
      },
    )
  }
  return Buffer.from(hkdfSync('sha256', bytes, '', 'crosscloud config fingerprint v1', 32))
}

/** The input of a revision, from one rendering. */
export function revisionInput(
  templates: readonly ConfigTemplate[],
  files: readonly RenderedFile[],
  describeKey: (key: string) => RevisionKey,
): RevisionInput {
  const keys = new Map<string, RevisionKey>()
  for (const key of files.flatMap((file) => file.keys)) keys.set(key, describeKey(key))
  const sources = new Map<string, Uint8Array>()
  for (const template of templates) {
    for (const [path, bytes] of template.files) sources.set(path, bytes)
  }
  return { keys, templates: sources, files }
}

/**
 * `sha256:…` over keys, values, templates and files, independent of their order. With a fingerprint
 * key it is made from an HMAC, so that nobody without the key can test guesses against it. Without
 * a key, secrets and the files made of them are left out for the same reason.
 */
export function configRevision(input: RevisionInput, key?: Uint8Array): Digest {
  const isOpen = (name: string) => key !== undefined || input.keys.get(name)?.secret !== true
  const canonical = JSON.stringify([
    'crosscloud config revision v2',
    key === undefined ? null : keyIdOf(key),
    sortedEntries(input.keys).map(([name, { value }]) => [name, isOpen(name) ? value : null]),
    templateDigests(input),
    sortedFiles(input).map(({ path, mode, uid, gid, content, keys }) => [
      path,
      mode,
      uid,
      gid,
      keys.every(isOpen) ? sha256(content) : null,
    ]),
  ])
  return sha256(key === undefined ? canonical : fingerprint(key, 'revision', '', canonical))
}

function templateDigests({ templates }: RevisionInput): [path: string, digest: string][] {
  return sortedEntries(templates).map(([path, bytes]) => [path, sha256(bytes)])
}

/** The ledger's JSON for a revision: no secret in clear, and no hash of a secret without a key. */
export function describeRevision(input: RevisionInput, key?: Uint8Array): string {
  const mark = (kind: string, name: string, value: string | Uint8Array) =>
    key === undefined ? null : fingerprint(key, kind, name, value)
  const description: RevisionDescription = {
    version: 2,
    keyId: key === undefined ? null : keyIdOf(key),
    keys: Object.fromEntries(
      sortedEntries(input.keys).map(([name, { value, secret, kept }]) => [
        name,
        secret ? { secret: kept, fingerprint: mark('value', name, value) } : { value },
      ]),
    ),
    templates: Object.fromEntries(templateDigests(input)),
    files: sortedFiles(input).map(({ path, mode, uid, gid, content }) => ({
      path,
      mode: mode.toString(8).padStart(4, '0'),
      uid,
      gid,
      fingerprint: mark('file', path, content),
    })),
  }
  return JSON.stringify(description)
}

/** Whether two descriptions are of the same revision: the encryption of secrets is ignored. */
export function isSameRevision(left: string, right: string): boolean {
  if (left === right) return true
  const withoutSecrets = (text: string) =>
    JSON.stringify(readDescription(text), (name, value) => (name === 'secret' ? null : value))
  return withoutSecrets(left) === withoutSecrets(right)
}

/** Which keys differ between two descriptions. */
export function changedKeys(before: string, after: string): RevisionChanges {
  const [old, now] = [readDescription(before), readDescription(after)]
  const comparable = old.keyId !== null && old.keyId === now.keyId
  const changes: RevisionChanges = { added: [], removed: [], changed: [], unknown: [] }
  for (const [key, kept] of Object.entries(now.keys)) {
    const before = Object.hasOwn(old.keys, key) ? old.keys[key] : undefined
    if (before === undefined) changes.added.push(key)
    else if (!('secret' in kept && 'secret' in before)) {
      if (JSON.stringify(kept) !== JSON.stringify(before)) changes.changed.push(key)
    } else if (!comparable) changes.unknown.push(key)
    else if (kept.fingerprint !== before.fingerprint) changes.changed.push(key)
  }
  changes.removed = Object.keys(old.keys).filter((key) => !Object.hasOwn(now.keys, key))
  return changes
}

/** A revision's keys as the store would hold them; `withheld` names secrets that were not kept. */
export function keptKeys(content: string): { values: Map<string, string>; withheld: string[] } {
  const values = new Map<string, string>()
  const withheld: string[] = []
  for (const [key, kept] of Object.entries(readDescription(content).keys)) {
    const text = 'value' in kept ? kept.value : kept.secret
    if (text === null) withheld.push(key)
    else values.set(key, text)
  }
  return { values, withheld }
}

function readDescription(text: string): RevisionDescription {
  const description = JSON.parse(text) as RevisionDescription
  if (description.version === 2) return description
  throw new StepError('INPUT_INVALID', 'this config revision is of an unknown version', {
    hint: 'Use the crosscloud that wrote it, or a newer one.',
  })
}

/** Includes kind and name: equal values of different keys have different fingerprints. */
function fingerprint(
  key: Uint8Array,
  kind: string,
  name: string,
  value: string | Uint8Array,
): string {
  const hmac = createHmac('sha256', key)
    .update(JSON.stringify([kind, name]))
    .update('\n')
  return `hmac-sha256:${hmac.update(value).digest('hex')}`
}

function keyIdOf(key: Uint8Array): string {
  return createHmac('sha256', key).update('key id').digest('hex').slice(0, 16)
}

function sortedEntries<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => compareBytes(a, b))
}

function sortedFiles({ files }: RevisionInput): RevisionInput['files'] {
  return files.toSorted((a, b) => compareBytes(a.path, b.path))
}
