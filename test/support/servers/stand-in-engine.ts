import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { json } from 'node:stream/consumers'
import type Docker from 'dockerode'
import { extract, type Header, pack } from 'tar-stream'

interface File {
  header: Header
  content: Buffer
}

/** What a real engine has said of an image and of a container that was made from it. */
interface RecordedImage {
  image: Docker.ImageInspectInfo
  container: Docker.ContainerInspectInfo
  /** By absolute path. */
  files: ReadonlyMap<string, File>
}

/** A response, before it is sent; a test compares it with Docker's own description of its API. */
export interface Response {
  status: number
  body?: object | string | undefined
  headers?: Record<string, string>
}

interface Container {
  id: string
  name: string
  spec: Docker.ContainerCreateOptions
  running: boolean
  /** Placed in it, by absolute path. */
  files: Map<string, File>
}

interface Engine {
  port: number
  pulled: boolean
  containers: Container[]
}

interface Asked {
  method: string
  query: URLSearchParams
  request: IncomingMessage
}

interface StandInOptions {
  /** Sees each response and what it is to, `GET /containers/json`. */
  onResponse?: (what: string, response: Response) => void
}

/** Makes a container of an image, and keeps what the engine says of both, and all files. */
export async function recordImage(docker: Docker, reference: string): Promise<RecordedImage> {
  const made = await docker.createContainer({ Image: reference })
  const [image, container] = [await docker.getImage(reference).inspect(), await made.inspect()]
  const files = await readTar((await made.export()) as Readable)
  await made.remove()
  return { image, container, files }
}

/**
 * Engines that remember what is asked of them, in memory, and start containers in no time: one server
 * each, all in this process. They have one image, once it is pulled; each port of an engine's
 * containers is the engine's own, which responds to GET /health.
 */
export async function startStandIns(
  count: number,
  recorded: RecordedImage,
  options: StandInOptions = {},
) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => startStandIn(recorded, options)),
  )
  const stop = () => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  }
  const addresses = servers.map((server) => `tcp://127.0.0.1:${portOf(server)}`)
  return { addresses, stop }
}

type Server = ReturnType<typeof createServer>
const portOf = (server: Server) => (server.address() as AddressInfo).port

async function startStandIn(recorded: RecordedImage, { onResponse }: StandInOptions) {
  const engine: Engine = { port: 0, pulled: false, containers: [] }
  const server = createServer(async (request, response) => {
    const { method = 'GET' } = request
    const url = new URL(request.url ?? '/', 'http://engine')
    const asked = { method, query: url.searchParams, request }
    const [kind = '', name = '', ...rest] = url.pathname.slice(1).split('/').map(decodeURIComponent)
    const answer = await respond(engine, recorded, [kind, name, rest.join('/')], asked)
    const isContainer = kind === 'containers' && !['json', 'create'].includes(name)
    const path = isContainer
      ? ['', kind, '{id}', ...rest].join('/')
      : url.pathname.replace(/^\/images\/.*\/json$/, '/images/{name}/json')
    if (kind !== 'health') onResponse?.(`${method} ${path}`, answer)
    send(response, answer)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  engine.port = portOf(server)
  return server
}

function send(response: ServerResponse, { status, body, headers = {} }: Response): void {
  if (Buffer.isBuffer(body) || typeof body === 'string') {
    response.writeHead(status, headers).end(body)
    return
  }
  const type = body === undefined ? {} : { 'content-type': 'application/json' }
  response.writeHead(status, { ...type, ...headers })
  response.end(body === undefined ? undefined : JSON.stringify(body))
}

const missing = (what: string): Response => ({ status: 404, body: { message: what } })

async function respond(
  engine: Engine,
  recorded: RecordedImage,
  [kind, name, rest]: [string, string, string],
  asked: Asked,
): Promise<Response> {
  if (kind === 'health') return { status: 200, body: 'ok' }
  if (kind === '_ping') return { status: 200, body: 'OK', headers: { 'api-version': '1.54' } }
  if (kind === 'images' && name === 'create') {
    engine.pulled = true
    return { status: 200, body: `${JSON.stringify({ status: 'Pull complete' })}\r\n` }
  }
  if (kind === 'images') {
    return engine.pulled ? { status: 200, body: recorded.image } : missing('No such image')
  }
  if (kind !== 'containers') return missing('page not found')
  if (name === 'json') return { status: 200, body: list(engine, recorded, asked.query) }
  if (name === 'create') return create(engine, asked)
  const container = engine.containers.find(
    (each) => each.id === name || each.name === name || each.id.startsWith(name),
  )
  if (!container) return missing(`No such container: ${name}`)
  if (rest === 'archive') return archive(container, recorded, asked)
  return change(engine, container, rest, recorded, asked)
}

async function create(engine: Engine, { query, request }: Asked): Promise<Response> {
  const spec = (await json(request)) as Docker.ContainerCreateOptions
  const name = query.get('name') ?? ''
  if (engine.containers.some((each) => each.name === name)) {
    return { status: 409, body: { message: `Conflict. The container name "/${name}" is in use` } }
  }
  const id = randomBytes(32).toString('hex')
  engine.containers.push({ id, name, spec, running: false, files: new Map() })
  return { status: 201, body: { Id: id, Warnings: [] } }
}

async function change(
  engine: Engine,
  container: Container,
  verb: string,
  recorded: RecordedImage,
  { method, query, request }: Asked,
): Promise<Response> {
  if (method === 'DELETE') {
    engine.containers = engine.containers.filter((each) => each !== container)
    return { status: 204 }
  }
  if (verb === 'json') return { status: 200, body: inspect(engine, container, recorded) }
  if (verb === 'changes') return { status: 200, body: changesOf(container) }
  if (verb === 'rename') container.name = query.get('name') ?? container.name
  else if (verb === 'update') {
    Object.assign(container.spec.HostConfig ?? {}, await json(request))
    return { status: 200, body: { Warnings: [] } }
  } else if (verb === 'start' || verb === 'stop') {
    if (container.running === (verb === 'start')) return { status: 304 }
    container.running = verb === 'start'
  } else return missing('page not found')
  return { status: 204 }
}

function inspect({ port }: Engine, container: Container, { container: like }: RecordedImage) {
  const { id, name, spec, running } = container
  const ports = Object.keys(spec.HostConfig?.PortBindings ?? {}).map((each) => [
    each,
    [{ HostIp: '127.0.0.1', HostPort: String(port) }],
  ])
  const Status = running ? 'running' : 'exited'
  return {
    ...like,
    Id: id,
    Name: `/${name}`,
    State: { ...like.State, Status, Running: running, ExitCode: 0 },
    Config: {
      ...like.Config,
      Image: spec.Image,
      Labels: { ...like.Config.Labels, ...spec.Labels },
    },
    HostConfig: { ...like.HostConfig, ...spec.HostConfig },
    NetworkSettings: {
      ...like.NetworkSettings,
      Ports: running ? Object.fromEntries(ports) : {},
    },
  }
}

function list(engine: Engine, { image }: RecordedImage, query: URLSearchParams) {
  const { label = [] } = JSON.parse(query.get('filters') ?? '{}') as { label?: string[] }
  const has = ({ spec }: Container) =>
    label.every((each) => spec.Labels?.[each.split('=')[0] ?? ''] === each.split('=')[1])
  return engine.containers.filter(has).map(({ id, name, spec, running }) => ({
    Id: id,
    Names: [`/${name}`],
    Image: spec.Image,
    ImageID: image.Id,
    Labels: spec.Labels,
    State: running ? 'running' : 'exited',
  }))
}

/** A folder with something new in it counts as changed. */
function changesOf({ files }: Container): object[] {
  const added = [...files.keys()]
  const folders = new Set(added.map((path) => posix.dirname(path)))
  const changed = [...folders].filter((path) => path !== '/' && !files.has(path))
  return [
    ...changed.map((Path) => ({ Path, Kind: 0 })),
    ...added.map((Path) => ({ Path, Kind: 1 })),
  ]
}

async function archive(
  { files }: Container,
  recorded: RecordedImage,
  { method, query, request }: Asked,
): Promise<Response> {
  if (method === 'PUT') {
    for (const [path, file] of await readTar(request)) files.set(path, file)
    return { status: 200 }
  }
  const path = query.get('path')?.replace(/(?!^)\/$/, '') ?? ''
  const all = new Map([...recorded.files, ...files])
  const found = all.get(path)
  if (!found) return missing(`Could not find the file ${path}`)
  const headers = { 'x-docker-container-path-stat': statOf(path, found) }
  if (method === 'HEAD') return { status: 200, headers }
  return { status: 200, headers, body: await tarOf(path, all) }
}

/** Go's os.FileMode: bit 31 is a folder, 27 a symbolic link. */
function statOf(path: string, { header, content }: File): string {
  const bits = header.type === 'directory' ? 2 ** 31 : header.type === 'symlink' ? 2 ** 27 : 0
  const stat = {
    name: posix.basename(path),
    size: content.length,
    mode: bits + (header.mode ?? 0),
    mtime: '2026-01-01T00:00:00Z',
    linkTarget: header.linkname ?? '',
  }
  return Buffer.from(JSON.stringify(stat)).toString('base64')
}

async function tarOf(path: string, all: ReadonlyMap<string, File>): Promise<Buffer> {
  const tar = pack()
  for (const [each, { header, content }] of all) {
    if (each !== path && !each.startsWith(`${path}/`)) continue
    const name = posix.basename(path) + each.slice(path.length)
    tar.entry({ ...header, name }, content)
  }
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

async function readTar(stream: Readable): Promise<Map<string, File>> {
  const files = new Map<string, File>()
  for await (const entry of stream.pipe(extract())) {
    const chunks: Buffer[] = []
    for await (const chunk of entry) chunks.push(chunk as Buffer)
    const path = posix.join('/', entry.header.name).replace(/(?!^)\/$/, '')
    files.set(path, { header: entry.header, content: Buffer.concat(chunks) })
  }
  return files
}
