import { instanceLabels } from '../../targets/labels.ts'
import { failureOf, isSuccess } from '../../targets/responses.ts'
import { slotOf } from '../../targets/slot.ts'
import type { Instance } from '../../targets/target.ts'
import type { CommandResult } from '../command.ts'
import { table } from '../output.ts'
import { describeInstance, labelled, type Opened } from './open.ts'

/** With the slot of each and its ports, where there are any. */
export async function listInstances(opened: Opened): Promise<CommandResult> {
  const { found, failure } = await labelled(opened)
  const { app, environment } = opened
  return {
    json: { instances: found.map(rowOf) },
    text:
      found.length === 0
        ? `No instance of ${app} in ${environment.name}.`
        : instanceTable('instance', found, placeColumns(found)),
    ...(failure && { failure }),
  }
}

export const rowOf = (instance: Instance) => ({
  ...describeInstance(instance),
  version: instance.labels[instanceLabels.version] ?? '',
  deployment: instance.labels[instanceLabels.deployment] ?? '',
  restarts: instance.restarts,
  restarting: instance.isRestarting ?? false,
  slot: slotOf(instance.labels) ?? null,
  ports: instance.ports ?? [],
})

type Row = ReturnType<typeof rowOf>
type Column = readonly [heading: string, cell: (row: Row) => string]

const columns = (name: string): Column[] => [
  ['host', ({ host }) => host],
  [name, (row) => row.name],
  ['version', ({ version }) => version],
  ['state', stateOf],
  ['restarts', ({ restarts }) => `${restarts}`],
]

/** Left out where no instance has any. */
function placeColumns(found: readonly Instance[]): Column[] {
  const rows = found.map(rowOf)
  const slot: Column = ['slot', (row) => (row.slot === null ? '' : `${row.slot}`)]
  const ports: Column = ['ports', (row) => row.ports.join(', ')]
  return [
    ...(rows.some((row) => row.slot !== null) ? [slot] : []),
    ...(rows.some((row) => row.ports.length > 0) ? [ports] : []),
  ]
}

/** `name`: what an instance is called in the heading. */
export function instanceTable(
  name: string,
  found: readonly Instance[],
  more: readonly Column[] = [],
): string {
  const all = [...columns(name), ...more]
  return table(
    all.map(([heading]) => heading),
    found.map(rowOf).map((row) => all.map(([, cell]) => cell(row))),
  )
}

/** Other applications' instances can be looked at here; no command changes them. */
export async function listEverything(opened: Opened): Promise<CommandResult> {
  const responses = await opened.target.instances({ labels: {} })
  const failure = failureOf(responses)
  const found = responses
    .filter(isSuccess)
    .flatMap(({ value }) => value.sort((a, b) => (a.name < b.name ? -1 : 1)))
  const rows = found.map((instance) => ({
    ...rowOf(instance),
    application: instance.labels[instanceLabels.application] ?? '',
    environment: instance.labels[instanceLabels.environment] ?? '',
    image: instance.image,
  }))
  const cells = rows.map((row) => {
    const { host, name, application, environment, version, image } = row
    return [host, name, application, environment, version, stateOf(row), image]
  })
  const headings = ['host', 'instance', 'application', 'environment', 'version', 'state', 'image']
  return {
    json: { instances: rows },
    text: rows.length === 0 ? 'No instance at all.' : table(headings, cells),
    ...(failure && { failure }),
  }
}

/** The exit code of an instance that its host starts again and again says why it ends. */
function stateOf({ running, exitCode, restarting }: Row): string {
  if (running) return 'running'
  const ended = exitCode === undefined ? 'not started' : `ended with ${exitCode}`
  return restarting ? `restarting, ${ended}` : ended
}
