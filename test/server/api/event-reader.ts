import type { World } from './world.ts'

export interface StreamEvent {
  id: string
  event: string
  data: Record<string, unknown>
}

interface Reading {
  after?: string
  by?: string
  signal?: AbortSignal
}

/** The log of a run as it comes, until the server ends it or the reader has enough. */
export const readLines = (world: Pick<World, 'url'>, run: string, how: Reading = {}) =>
  readEvents(world, `/runs/${run}/lines`, how)

/** Server-sent events as they come; those without data only change the id. */
export async function* readEvents(
  world: Pick<World, 'url'>,
  place: string,
  { after, by = 'li', signal }: Reading = {},
): AsyncGenerator<StreamEvent> {
  const limit = AbortSignal.timeout(120_000)
  const response = await fetch(`${world.url}/api/v1${place}`, {
    headers: { authorization: `Bearer ${by}`, ...(after && { 'last-event-id': after }) },
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  })
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
  let rest = ''
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const parts = (rest + chunk).split('\n\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const fields = Object.fromEntries(
        part.split('\n').map((line) => [line.split(': ')[0], line.slice(line.indexOf(': ') + 2)]),
      ) as Record<string, string>
      const { id = '', event = '', data = '{}' } = fields
      if (event !== '' || id !== '') yield { id, event, data: JSON.parse(data) }
    }
  }
}

export async function allLines(
  world: Pick<World, 'url'>,
  run: string,
  how: { after?: string; by?: string } = {},
): Promise<StreamEvent[]> {
  const found: StreamEvent[] = []
  for await (const event of readLines(world, run, how)) found.push(event)
  return found
}
