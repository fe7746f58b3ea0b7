import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import { cancelled, isStepError, toStepError } from '../core/errors.ts'
import type { EngineAddress } from '../targets/docker/address.ts'
import { caller } from '../targets/docker/call.ts'
import { openEngine, type TlsFiles } from '../targets/docker/connect.ts'
import { engineError, type HostName } from '../targets/docker/errors.ts'
import type { RegistryCredential } from '../targets/docker/host.ts'
import type { BuildRequest, BuiltImage, EngineImage, ImageBuilder } from './builder.ts'
import { followBuild } from './progress.ts'
import { openSession, type Session } from './session.ts'

export interface BuilderOptions {
  address: EngineAddress
  tls?: TlsFiles | undefined
  /** For a registry as an image names it, `docker.io` when it names none. */
  credentials: (registry: string) => Promise<RegistryCredential | undefined>
  /** Stops a build, and what else can last. */
  signal: AbortSignal
}

/** A Docker Engine as a builder. Nothing is sent before the first call. */
export async function openImageBuilder(options: BuilderOptions): Promise<ImageBuilder> {
  const { address, signal } = options
  const engine = await openEngine(options)
  const { docker } = engine
  const host: HostName = { name: 'builder', address: address.text }
  const closing = new AbortController()
  const call = caller(host, AbortSignal.any([closing.signal, signal]))
  return {
    build: (request) => build({ ...options, docker, host }, request),
    find: async (reference) => {
      const path = `/images/${reference}/json`
      const found = await call(
        `looking for image ${reference}`,
        (abortSignal) => dial<ImageInfo>(docker, { path, statusCodes: { 200: true }, abortSignal }),
        { fine: [404] },
      )
      return typeof found === 'number' ? undefined : describeImage(found)
    },
    async save(id) {
      try {
        const request = { path: `/images/${id}/get`, isStream: true, statusCodes: { 200: true } }
        return await dial<Readable>(docker, { ...request, abortSignal: signal })
      } catch (error) {
        if (signal.aborted) throw cancelled(signal)
        throw engineError(host, `exporting image ${id}`, error)
      }
    },
    close() {
      closing.abort()
      engine.close()
    },
  }
}

interface Builder extends BuilderOptions {
  docker: Docker
  host: HostName
}

type ImageInfo = Pick<Docker.ImageInspectInfo, 'Architecture' | 'RepoDigests' | 'RootFS'>

function describeImage(found: ImageInfo): EngineImage {
  return {
    architecture: found.Architecture,
    digests: found.RepoDigests ?? [],
    layers: found.RootFS.Layers ?? [],
  }
}

/**
 * By BuildKit where the engine prefers it, as docker's own client decides it; a session lets BuildKit
 * ask for logins of registries. Else by the classic builder, which gets them with the request.
 */
async function build(builder: Builder, request: BuildRequest): Promise<BuiltImage> {
  const { docker, host, signal, credentials } = builder
  const broken = new AbortController()
  request.context.once('error', (error) => broken.abort(error))
  const abortSignal = AbortSignal.any([signal, broken.signal])
  let session: Session | undefined
  try {
    if (await prefersBuildKit(docker, abortSignal)) session = await openSession(docker, credentials)
    const registryconfig = session ? {} : await loginsOf(request.registries, credentials)
    const stream = await dial<Readable>(docker, {
      path: '/build?',
      method: 'POST',
      isStream: true,
      statusCodes: { 200: true },
      file: request.context,
      registryconfig,
      abortSignal,
      options: { ...buildOptions(request), ...(session && { version: '2', session: session.id }) },
    })
    return await followBuild(stream, request)
  } catch (error) {
    if (signal.aborted) throw cancelled(signal)
    if (broken.signal.aborted) throw toStepError(broken.signal.reason)
    throw isStepError(error) ? error : engineError(host, 'building the image', error)
  } finally {
    request.context.destroy()
    session?.close()
  }
}

/** https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageBuild */
function buildOptions({ dockerfile, args, labels, platform, target }: BuildRequest) {
  const cleanUp = { rm: true, forcerm: true }
  return {
    dockerfile,
    buildargs: args,
    labels,
    platform,
    ...cleanUp,
    ...(target !== undefined && { target }),
  }
}

async function prefersBuildKit(docker: Docker, abortSignal: AbortSignal): Promise<boolean> {
  const request = { path: '/_ping', isStream: true, statusCodes: { 200: true } }
  const response = await dial<IncomingMessage>(docker, { ...request, abortSignal })
  response.resume()
  return response.headers['builder-version'] === '2'
}

/** What dockerode's own verbs do not offer: response headers, and an end by a signal. */
function dial<T>({ modem }: Docker, request: Parameters<typeof modem.dial>[0]): Promise<T> {
  return new Promise((resolve, reject) => {
    modem.dial({ method: 'GET', ...request }, (error, response) =>
      error ? reject(error) : resolve(response as T),
    )
  })
}

/** Docker Hub has a name of its own here. */
const HUB = 'https://index.docker.io/v1/'

async function loginsOf(
  registries: readonly string[],
  credentials: BuilderOptions['credentials'],
): Promise<NonNullable<Docker.ImageBuildOptions['registryconfig']>> {
  const logins: Record<string, RegistryCredential> = {}
  for (const registry of registries) {
    const found = await credentials(registry)
    if (found) logins[registry === 'docker.io' ? HUB : registry] = found
  }
  return logins
}
