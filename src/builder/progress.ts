import type { Readable } from 'node:stream'
import { StepError } from '../core/errors.ts'
import { indentedLines } from '../core/lists.ts'
import { jsonLines } from '../targets/docker/pull.ts'
import type { BuildRequest, BuiltImage } from './builder.ts'
import { bytesOf, decodeFields, textOf } from './protobuf.ts'

interface BuildEvent {
  /** Output of the classic builder. */
  stream?: string
  /** Of a pull by the classic builder; progress of a single layer has an id. */
  status?: string
  id?: string
  /** The image's id, or what BuildKit reports, in base64. */
  aux?: { ID?: string } | string
  error?: string
  errorDetail?: { message?: string }
}

/** The id of what BuildKit reports. */
const REPORT = 'moby.buildkit.trace'
/** How many of the last lines an error shows. */
const LAST_LINES = 20

interface Instruction {
  /** As the Dockerfile has it. */
  text: string
  /** The last lines it printed. */
  lines: string[]
}

interface Progress {
  onLine(line: string): void
  /** What runs, in the classic builder; what has failed, in BuildKit. */
  current: Instruction | undefined
  /** BuildKit's, by their digests: several run at once. */
  instructions: Map<string, Instruction>
  from: Set<string>
  /** A line whose end has not come yet. */
  rest: string
}

/** The stream of a build to its end: lines to the request, the failure as an error. */
export async function followBuild(
  stream: Readable,
  { onLine, dockerfile }: Pick<BuildRequest, 'onLine' | 'dockerfile'>,
): Promise<BuiltImage> {
  const progress: Progress = {
    onLine,
    current: undefined,
    instructions: new Map(),
    from: new Set(),
    rest: '',
  }
  let id: string | undefined
  for await (const event of jsonLines<BuildEvent>(stream)) {
    if (typeof event.aux === 'object') id = event.aux.ID ?? id
    else if (event.id === REPORT) noteReport(Buffer.from(event.aux ?? '', 'base64'), progress)
    const status = event.id === undefined && event.status !== undefined ? `${event.status}\n` : ''
    noteOutput(event.stream ?? status, progress)
    if (event.error !== undefined) {
      const message = event.errorDetail?.message ?? event.error
      throw buildFailed(dockerfile, message.trim(), progress.current)
    }
  }
  if (id !== undefined) return { id, from: [...progress.from] }
  throw new StepError('UNAVAILABLE', 'the engine broke the build off without a word', {
    hint: 'See whether it still runs, then run the command again.',
  })
}

/** The classic builder: `Step 2/5 : RUN make`, and what it prints. */
function noteOutput(text: string, progress: Progress): void {
  const lines = (progress.rest + text).split(/\r?\n/)
  progress.rest = lines.pop() ?? ''
  for (const line of lines) {
    const instruction = /^Step \d+\/\d+ : (.+)$/.exec(line)?.[1]
    if (instruction === undefined) print(line, progress.current, progress)
    else {
      progress.current = { text: instruction, lines: [] }
      progress.onLine(line)
    }
  }
}

function print(line: string, by: Instruction | undefined, { onLine }: Progress): void {
  if (line.trim() === '') return
  if (by) by.lines = [...by.lines.slice(1 - LAST_LINES), line]
  onLine(line)
}

/** Fields of BuildKit's api/services/control/control.proto: StatusResponse, Vertex and VertexLog. */
const RESPONSE = { vertexes: 1, logs: 3 }
const VERTEX = { digest: 1, name: 3, cached: 4, started: 5, error: 7 }
const LOG = { vertex: 1, message: 4 }
/** `[stage 2/5] FROM tomcat:10@sha256:…` */
const FROM = /\] FROM (\S+@sha256:[0-9a-f]{64})/

function noteReport(bytes: Buffer, progress: Progress): void {
  const { instructions, from, onLine } = progress
  const response = decodeFields(bytes)
  for (const vertex of bytesOf(response, RESPONSE.vertexes).map(decodeFields)) {
    const [digest, name] = [textOf(vertex, VERTEX.digest), textOf(vertex, VERTEX.name)]
    const image = FROM.exec(name)?.[1]
    if (image !== undefined) from.add(image)
    if (!instructions.has(digest) && vertex.has(VERTEX.started)) {
      const text = name.replace(/^\[[^\]]*\d+\/\d+\] /, '')
      instructions.set(digest, { text, lines: [] })
      onLine(vertex.has(VERTEX.cached) ? `${name} (cached)` : name)
    }
    if (vertex.has(VERTEX.error)) progress.current ??= instructions.get(digest)
  }
  for (const log of bytesOf(response, RESPONSE.logs).map(decodeFields)) {
    const by = instructions.get(textOf(log, LOG.vertex))
    for (const line of textOf(log, LOG.message).split(/\r?\n/)) print(line, by, progress)
  }
}

function buildFailed(
  dockerfile: string,
  message: string,
  { text, lines }: Instruction = { text: '', lines: [] },
): StepError {
  const where = text === '' ? dockerfile : `${dockerfile}: ${text}`
  const output = lines.length > 0 ? `\n${indentedLines(lines, LAST_LINES)}` : ''
  return new StepError('COMMAND_FAILED', `${where}: ${message}${output}`, {
    summary: `${where}: ${message}`,
    hint: /^FROM |^\[internal\] load metadata /.test(text)
      ? 'See that the engine can reach this registry, and that a login for it is in the docker config here.'
      : 'The Dockerfile, or what it finds in the context, must be put right; try it with `docker build`.',
  })
}
