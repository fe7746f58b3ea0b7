import { type Command, Option } from 'commander'
import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import { type EventRecord, type EventState, states } from '../../server/queue/event-record.ts'
import { type Records, unknownEvent } from '../../server/queue/records.ts'
import type { WakeUps } from '../../server/queue/wake-ups.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import { table } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { addServerOption, readQueue, type ServerOption } from './settings.ts'

interface Group {
  events: Command
  perform: Perform
  processEnvironment: ProcessEnvironment
}

/** `crosscloud events …`: the events of the webhook server. */
export function addEventCommands(
  program: Command,
  perform: Perform,
  processEnvironment: ProcessEnvironment,
): void {
  const events = program
    .command('events')
    .description('Events of the webhook server, and what became of them.')
  const group = { events, perform, processEnvironment }
  addList(group)
  addShow(group)
  addRetry(group)
  addDrop(group)
}

type EventWork = (records: Records, wakeUps: WakeUps) => Promise<CommandResult>

async function withEvents(
  options: ServerOption,
  context: Context,
  { processEnvironment }: Group,
  work: EventWork,
): Promise<CommandResult> {
  const { queue, folder } = await readQueue(options, context, processEnvironment)
  const { openQueueRedis } = await import('../../server/queue/connection.ts')
  const { accessQueue, queueOptions } = await import('../../server/queue/access.ts')
  const { openRecords } = await import('../../server/queue/records.ts')
  const { openWakeUps } = await import('../../server/queue/wake-ups.ts')
  const redis = await openQueueRedis(queue.redis, folder, context.log)
  try {
    const access = accessQueue(redis.failFast, queueOptions(redis.name, queue))
    const wakeUps = await openWakeUps(redis.failFast, queue.name)
    try {
      return await work(openRecords(access), wakeUps)
    } finally {
      await wakeUps.close()
    }
  } finally {
    await redis.close()
  }
}

const open: readonly EventState[] = ['dead', 'running', 'waiting']

interface ListOptions extends ServerOption {
  state?: EventState
  limit: string
}

function addList(group: Group): void {
  const command = addServerOption(
    group.events.command('list').description('Events that wait, are worked on, or need a person.'),
  )
    .addOption(new Option('--state <state>', 'only those, also what is over').choices([...states]))
    .option('--limit <number>', 'at most so many of each state', '50')
  addExample(command, 'events list --state dead')
  command.action(async (options: ListOptions) => {
    await group.perform(command, (context) =>
      withEvents(options, context, group, async (records) => {
        const limit = readLimit(options.limit)
        const asked = options.state === undefined ? open : [options.state]
        const pages = await Promise.all(asked.map((state) => records.list(state, limit)))
        const found = pages.flat()
        return { json: { events: found.map(toJson) }, text: listText(found) }
      }),
    )
  })
}

function addShow(group: Group): void {
  const command = addServerOption(
    group.events.command('show').argument('<event>', 'its id').description('All about one event.'),
  )
  addExample(command, 'events show 0mij3k2a1b2c3d4e5f6a7')
  command.action(async (id: string, options: ServerOption) => {
    await group.perform(command, (context) =>
      withEvents(options, context, group, async (records) => {
        const event = await records.find(readId(id))
        if (event) return { json: toJson(event), text: showText(event) }
        throw unknownEvent(id)
      }),
    )
  })
}

interface RetryOptions extends ServerOption {
  dead?: boolean
}

function addRetry(group: Group): void {
  const command = addServerOption(
    group.events
      .command('retry')
      .argument('[events...]', 'their ids')
      .description(
        'Let dead, dropped or superseded events be worked on again, after those that wait.',
      ),
  ).option('--dead', 'all that are dead, oldest first')
  addExample(command, 'events retry --dead')
  command.action(async (ids: string[], options: RetryOptions) => {
    await group.perform(command, (context) =>
      withEvents(options, context, group, async (records, wakeUps) => {
        const dead = options.dead ? await records.list('dead', MOST) : []
        const wanted = [...ids.map(readId), ...dead.map(({ id }) => id).reverse()]
        if (wanted.length === 0 && !options.dead) throw namesNone('retry')
        await requireAll(records, ids)
        for (const id of wanted) {
          const { partition, queue } = await records.revive(id)
          await wakeUps.add([{ id: `${id}-${Date.now()}`, partition, queue }])
        }
        return {
          json: { events: wanted },
          text:
            wanted.length === 0
              ? 'None is dead.'
              : `${count(wanted.length)} will be worked on again.`,
        }
      }),
    )
  })
}

interface DropOptions extends ServerOption {
  reason: string
}

function addDrop(group: Group): void {
  const command = addServerOption(
    group.events
      .command('drop')
      .argument('<events...>', 'their ids')
      .description('Give waiting or dead events up.'),
  ).requiredOption('--reason <text>', 'why; it is kept with them')
  addExample(command, 'events drop 0mij3k2a1b2c3d4e5f6a7 --reason "released by hand"')
  command.action(async (ids: string[], options: DropOptions) => {
    await group.perform(command, (context) =>
      withEvents(options, context, group, async (records) => {
        const reason = `${context.actor.by} dropped it: ${options.reason}`
        await requireAll(records, ids)
        for (const id of ids) await records.drop(id, reason)
        return { json: { events: ids }, text: `${count(ids.length)} given up.` }
      }),
    )
  })
}

const MOST = 10_000

function readLimit(text: string): number {
  const limit = Number(text)
  if (Number.isInteger(limit) && limit >= 1 && limit <= MOST) return limit
  throw new StepError('INPUT_INVALID', `--limit ${text} is not a number from 1 to ${MOST}`)
}

function readId(id: string): string {
  if (/^[0-9a-z]{10,40}$/.test(id)) return id
  throw new StepError('INPUT_INVALID', `"${id}" is not the id of an event`, {
    hint: 'crosscloud events list shows the ids.',
  })
}

/** All or none: a misspelled id must not leave the others half done. */
async function requireAll(records: Records, ids: readonly string[]): Promise<void> {
  for (const id of ids) if (!(await records.find(readId(id)))) throw unknownEvent(id)
}

function namesNone(what: string): StepError {
  return new StepError('INPUT_INVALID', `events ${what} needs an id, or --dead`)
}

const count = (events: number) => (events === 1 ? '1 event' : `${events} events`)

const time = (milliseconds: number | undefined) =>
  milliseconds === undefined
    ? ''
    : new Date(milliseconds).toISOString().slice(0, 19).replace('T', ' ')

const utc = (milliseconds: number | undefined) =>
  milliseconds === undefined ? undefined : `${time(milliseconds)} UTC`

function listText(events: readonly EventRecord[]): string {
  if (events.length === 0) return 'There are none.'
  return table(
    [
      'event',
      'received (UTC)',
      'state',
      'route',
      'kind',
      'project',
      'branch or tag',
      'by',
      'failed tries',
    ],
    events.map(({ id, received, state, route, facts, attempts }) => [
      ...[id, time(received), state, route, facts.kind, facts.project, facts.ref, facts.by],
      String(attempts),
    ]),
  )
}

function showText(event: EventRecord): string {
  const { id, state, route, facts, received, begun, next, ended, attempts } = event
  const lines: [string, string | undefined][] = [
    ['Event', `${id}, ${state}`],
    ['Route', route],
    ['About', `${facts.kind} of ${facts.project} ${facts.ref}`.trim()],
    ['Commit', facts.commit],
    ['By', facts.by],
    ['Title', facts.title],
    ['Page', facts.url],
    ['Received', utc(received)],
    ['Begun', utc(begun)],
    ['Failed', attempts === 0 ? undefined : attempts === 1 ? 'once' : `${attempts} times`],
    ['Next try', utc(next)],
    ['Ended', utc(ended)],
    ['Result', [event.text, event.url].filter(Boolean).join(': ')],
    ['Error', event.error?.replaceAll('\n', '\n            ')],
  ]
  return lines.flatMap(([name, text]) => (text ? [`${name.padEnd(10)}  ${text}`] : [])).join('\n')
}

function toJson(event: EventRecord): Record<string, unknown> {
  const { received, begun, next, ended, partition: _partition, ...rest } = event
  const iso = (value: number | undefined) => value && new Date(value).toISOString()
  return { ...rest, received: iso(received), begun: iso(begun), next: iso(next), ended: iso(ended) }
}
