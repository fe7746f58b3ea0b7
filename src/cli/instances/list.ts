import { instanceLabels } from '../../targets/labels.ts'
import { failureOf, isSuccess } from '../../targets/responses.ts'
import type { Instance } from '../../targets/target.ts'
import type { CommandResult } from '../command.ts'
import { table } from '../output.ts'
import { describeInstance, labelled, type Opened } from './open.ts'

export async function listInstances(opened: Opened): Promise<CommandResult> {
  const { found, failure } = await labelled(opened)
  const { app, environment } = opened
  return {
    json: { instances: found.map(rowOf) },
    text:
      found.length === 0
        ? `No instance of ${app} in ${environment.name}.`
        : instanceTable('instance', found),
    ...(failure && { failure }),
  }
}

export const rowOf = (instance: Instance) => ({
  ...describeInstance(instance),
  version: instance.labels[instanceLabels.version] ?? '',
  deployment: instance.labels[instanceLabels.deployment] ?? '',
  restarts: instance.restarts,
})

/** `name`: what an instance is called in the heading. */
export function instanceTable(name: string, found: readonly Instance[]): string {
  return table(
    ['host', name, 'version', 'state', 'restarts'],
    found
      .map(rowOf)
      .map((row) => [row.host, row.name, row.version, stateOf(row), `${row.restarts}`]),
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

function stateOf({ running, exitCode }: { running: boolean; exitCode?: number }): string {
  if (running) return 'running'
  return exitCode === undefined ? 'not started' : `ended with ${exitCode}`
}
