import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseDocument } from 'yaml'
import type { DemoMachine } from './machine.ts'

/** The example's environments, in the order of promotion. */
export const ENVIRONMENTS = ['test', 'staging'] as const

/** Where the demo keeps its base image: in the first registry. */
export function baseIn([first = '']: readonly string[]): string {
  return `${first}/library/tomcat:demo`
}

/** A copy of the example whose crosscloud.yml names this machine's registries and engine. */
export async function writeProject(
  work: string,
  machine: Pick<DemoMachine, 'base' | 'engine' | 'mavenArgs'>,
  registries: readonly string[],
): Promise<string> {
  const example = fileURLToPath(new URL('../../examples/webapi', import.meta.url))
  const project = join(work, 'webapi')
  // Its ledger and its image stay: the next run is the next release.
  for (const part of ['src', 'target', 'deploy', 'config']) {
    await rm(join(project, part), { recursive: true, force: true })
  }
  await cp(example, project, {
    recursive: true,
    filter: (path) => !path.startsWith(join(example, 'target')),
  })
  const settings = parseDocument(await readFile(join(example, 'crosscloud.yml'), 'utf8'))
  settings.setIn(['war', 'args'], ['-Dmaven.test.skip=true', ...(machine.mavenArgs ?? [])])
  // Named, so that it is here in a CI job, too.
  settings.set('ledger', 'sqlite:.crosscloud/ledger.db')
  const base = machine.base ? baseIn(registries) : 'scratch'
  settings.setIn(['image', 'base'], base)
  if (machine.base) settings.setIn(['image', 'webapp'], machine.base.webapp)
  if (machine.base) settings.setIn(['image', 'start-script'], true)
  ENVIRONMENTS.forEach((name, index) => {
    settings.setIn(['environments', name, 'image'], `${registries[index]}/team/webapi`)
    settings.setIn(
      ['environments', name, 'hosts'],
      machine.engine ? { 'this-machine': machine.engine.url } : {},
    )
  })
  await writeFile(join(project, 'crosscloud.yml'), settings.toString())
  return project
}
