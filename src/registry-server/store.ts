import { createHash, type Hash, randomUUID } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Digest, isDigest, sha256 } from '../core/digest.ts'
import { errorCodeOf } from '../core/errors.ts'
import { Refusal } from './refusal.ts'

/** Bytes on their way to becoming a blob. */
export interface Upload {
  readonly id: string
  readonly repository: string
  readonly path: string
  size: number
  hash: Hash
  /** One writer at a time. */
  busy: boolean
}

export interface StoredManifest {
  mediaType: string
  digest: Digest
  bytes: Buffer
}

/**
 * A registry's content on disk:
 *   blobs/ab/<hex>                                  content, shared by all repositories
 *   repositories/<name>/_blobs/<hex>                the repository has this blob
 *   repositories/<name>/_manifests/<hex>            the repository has this manifest; holds its type
 *   repositories/<name>/_tags/<tag>                 holds a digest
 *   repositories/<name>/_referrers/<hex>/<hex>      the second names the first as its subject
 *   uploads/<id>                                    what has come so far
 * Names are checked before they come here; a part of a name never starts with `_`. Files appear
 * whole, by rename. Unlinked content stays on disk.
 */
export type RegistryStore = ReturnType<typeof createStore>

export function createStore(folder: string) {
  const uploads = new Map<string, Upload>()
  const uploadFolder = join(folder, 'uploads')
  const blobPath = (digest: Digest) => join(folder, 'blobs', hex(digest).slice(0, 2), hex(digest))
  const place = (repository: string, ...path: string[]) =>
    join(folder, 'repositories', repository, ...path)

  const put = async (path: string, content: string | Uint8Array) => {
    const draft = join(uploadFolder, randomUUID())
    await writeFile(draft, content)
    await moveTo(draft, path)
  }

  const addManifest = async (repository: string, manifest: StoredManifest, subject?: Digest) => {
    const name = hex(manifest.digest)
    await put(blobPath(manifest.digest), manifest.bytes)
    await put(place(repository, '_manifests', name), manifest.mediaType)
    if (subject) await put(place(repository, '_referrers', hex(subject), name), '')
  }

  const manifest = async (
    repository: string,
    digest: Digest,
  ): Promise<StoredManifest | undefined> => {
    const mediaType = await readIfThere(place(repository, '_manifests', hex(digest)))
    if (mediaType === undefined) return undefined
    return { mediaType: mediaType.toString(), digest, bytes: await readFile(blobPath(digest)) }
  }

  const tags = async (repository: string) => (await names(place(repository, '_tags'))).sort()

  const tagged = async (repository: string, tag: string): Promise<Digest | undefined> => {
    const text = (await readIfThere(place(repository, '_tags', tag)))?.toString() ?? ''
    return isDigest(text) ? text : undefined
  }

  return {
    /** Makes the folders; uploads that another process began are gone. */
    async open() {
      await rm(uploadFolder, { recursive: true, force: true })
      await mkdir(uploadFolder, { recursive: true })
      await mkdir(join(folder, 'repositories'), { recursive: true })
    },
    /** Where a repository's blob is, and its size in bytes. */
    async blob(repository: string, digest: Digest) {
      if (!(await exists(place(repository, '_blobs', hex(digest))))) return undefined
      const path = blobPath(digest)
      return { path, size: (await stat(path)).size }
    },
    hasManifest: (repository: string, digest: Digest) =>
      exists(place(repository, '_manifests', hex(digest))),
    async mount(repository: string, from: string, digest: Digest) {
      if (!(await exists(place(from, '_blobs', hex(digest))))) return false
      await put(place(repository, '_blobs', hex(digest)), '')
      return true
    },
    unlinkBlob: (repository: string, digest: Digest) =>
      rm(place(repository, '_blobs', hex(digest)), { force: true }),

    async begin(repository: string): Promise<Upload> {
      const id = randomUUID()
      const path = join(uploadFolder, id)
      await writeFile(path, '')
      const hash = createHash('sha256')
      const upload = { id, repository, path, size: 0, hash, busy: false }
      uploads.set(id, upload)
      return upload
    },
    upload(repository: string, id: string): Upload {
      const upload = uploads.get(id)
      if (upload?.repository === repository) return upload
      throw new Refusal(404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry')
    },
    append,
    async finish(upload: Upload, digest: Digest) {
      const got = `sha256:${upload.hash.copy().digest('hex')}`
      if (got !== digest) {
        await this.cancel(upload)
        const message = 'provided digest did not match uploaded content'
        throw new Refusal(400, 'DIGEST_INVALID', message, { expected: digest, got })
      }
      uploads.delete(upload.id)
      await moveTo(upload.path, blobPath(digest))
      await put(place(upload.repository, '_blobs', hex(digest)), '')
    },
    async cancel(upload: Upload) {
      uploads.delete(upload.id)
      await rm(upload.path, { force: true })
    },

    addManifest,
    manifest,
    async tag(repository: string, tag: string, digest: Digest) {
      await put(place(repository, '_tags', tag), digest)
    },
    tagged,
    untag: (repository: string, tag: string) =>
      rm(place(repository, '_tags', tag), { force: true }),
    async removeManifest(repository: string, digest: Digest) {
      await rm(place(repository, '_manifests', hex(digest)), { force: true })
      for (const tag of await tags(repository)) {
        if ((await tagged(repository, tag)) === digest) await this.untag(repository, tag)
      }
    },
    async referrers(repository: string, subject: Digest): Promise<StoredManifest[]> {
      const found = await names(place(repository, '_referrers', hex(subject)))
      const all = await Promise.all(found.map((name) => manifest(repository, `sha256:${name}`)))
      return all.filter((manifest) => manifest !== undefined)
    },
    /** Undefined when there is no such repository. */
    async tags(repository: string): Promise<string[] | undefined> {
      return (await exists(place(repository, '_manifests'))) ? tags(repository) : undefined
    },
    repositories: async () => (await repositoriesIn(join(folder, 'repositories'), '')).sort(),
  }
}

function hex(digest: Digest): string {
  return digest.slice('sha256:'.length)
}

/** What arrived before a broken connection stays: size, hash and file always agree. */
async function append(upload: Upload, chunks: AsyncIterable<Buffer>): Promise<void> {
  if (upload.busy)
    throw new Refusal(409, 'BLOB_UPLOAD_INVALID', 'another request writes this upload')
  upload.busy = true
  const file = await open(upload.path, 'a')
  try {
    for await (const chunk of chunks) {
      await file.writeFile(chunk)
      upload.hash.update(chunk)
      upload.size += chunk.length
    }
  } finally {
    upload.busy = false
    await file.close()
  }
}

async function moveTo(draft: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await rename(draft, path)
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isAbsent(error)) return false
    throw error
  }
}

function isAbsent(error: unknown): boolean {
  return errorCodeOf(error) === 'ENOENT' || errorCodeOf(error) === 'ENOTDIR'
}

async function list(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (isAbsent(error)) return []
    throw error
  }
}

async function names(folder: string): Promise<string[]> {
  return (await list(folder)).map((entry) => entry.name)
}

async function repositoriesIn(folder: string, name: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await list(folder)) {
    if (entry.name === '_manifests') found.push(name)
    if (entry.name.startsWith('_')) continue
    const inner = name ? `${name}/${entry.name}` : entry.name
    found.push(...(await repositoriesIn(join(folder, entry.name), inner)))
  }
  return found
}

/** The digest of a manifest's bytes, which must be the one it is put under. */
export function manifestDigest(bytes: Buffer, expected: string): Digest {
  const digest = sha256(bytes)
  if (!isDigest(expected) || expected === digest) return digest
  throw new Refusal(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content', digest)
}
