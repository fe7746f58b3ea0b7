import { isRepositoryName } from '../registry/reference.ts'
import { deleteBlob, getBlob, patchUpload, postUpload, putUpload, uploadReply } from './blobs.ts'
import { deleteManifest, getManifest, listReferrers, putManifest } from './manifests.ts'
import { Refusal } from './refusal.ts'
import { pageReply, type RegistryRequest, type Reply } from './reply.ts'
import type { RegistryStore } from './store.ts'

const ROUTE =
  /^\/v2\/(.+)\/(?:(manifests)\/([^/]+)|blobs\/(uploads)(?:\/([^/]*))?|(blobs)\/([^/]+)|(tags)\/list|(referrers)\/([^/]+))$/
/** Undefined when the path is none of the API's; names that could leave the folder are refused. */
export function parsePath(
  path: string,
): Pick<RegistryRequest, 'name' | 'kind' | 'item'> | undefined {
  const [, name = '', manifests, reference, uploads, id, blobs, digest, tags, referrers, subject] =
    ROUTE.exec(path) ?? []
  if (!name) return undefined
  if (!isRepositoryName(name)) throw new Refusal(400, 'NAME_INVALID', 'invalid repository name')
  if (manifests) return { name, kind: 'manifest', item: reference ?? '' }
  if (uploads) return { name, kind: 'upload', item: id ?? '' }
  if (blobs) return { name, kind: 'blob', item: digest ?? '' }
  if (tags) return { name, kind: 'tags', item: '' }
  if (referrers) return { name, kind: 'referrers', item: subject ?? '' }
  return undefined
}

/** https://github.com/opencontainers/distribution-spec, end-1 to end-13. */
export async function respond(store: RegistryStore, request: RegistryRequest): Promise<Reply> {
  const verb = request.method === 'HEAD' ? 'GET' : request.method
  const handler = handlers[`${verb} ${request.kind}`]
  if (!handler) throw new Refusal(405, 'UNSUPPORTED', 'the operation is unsupported')
  return handler(store, request)
}

type Handler = (store: RegistryStore, request: RegistryRequest) => Promise<Reply>

const handlers: Record<string, Handler> = {
  'GET blob': getBlob,
  'DELETE blob': deleteBlob,
  'POST upload': postUpload,
  'PATCH upload': patchUpload,
  'PUT upload': putUpload,
  'GET upload': async (store, { name, item }) => uploadReply(204, store.upload(name, item)),
  'DELETE upload': async (store, { name, item }) => {
    await store.cancel(store.upload(name, item))
    return { status: 204 }
  },
  'GET manifest': getManifest,
  'PUT manifest': putManifest,
  'DELETE manifest': deleteManifest,
  'GET tags': listTags,
  'GET referrers': listReferrers,
}

async function listTags(store: RegistryStore, { name, query }: RegistryRequest): Promise<Reply> {
  const tags = await store.tags(name)
  if (!tags)
    throw new Refusal(404, 'NAME_UNKNOWN', 'repository name not known to registry', { name })
  return pageReply(`/v2/${name}/tags/list`, query, tags, (page) => ({ name, tags: page }))
}
