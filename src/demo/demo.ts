import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseDocument } from 'yaml'
import { table } from '../cli/output.ts'
import { createContext, type OpenContext } from '../context.ts'
import { shortDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { parseReference } from '../registry/reference.ts'
import { type EmbeddedRegistry, startRegistry } from '../registry/server.ts'
import { pushBase } from './base-push.ts'
import { clearEngine } from './clear-engine.ts'
import { type DemoMachine, prepareMachine } from './machine.ts'
import { type Reached, runRoad } from './road.ts'

const ENVIRONMENTS = ['test', 'staging'] as const
const BASE_NAME = 'library/tomcat'

/** What the demo proved, as `--json` prints it. */
export interface DemoResult {
  release: string
  environments: Reached[]
  sameDigest: boolean
  sameMd5: boolean
  configDiffers: boolean
  /** A plain sentence for each thing that this machine could not do. */
  skipped: string[]
}

/**
 * Builds, bakes, pushes, deploys, verifies and promotes examples/webapi on this machine, with real
 * servers, and stops everything it started.
 */
export async function runDemo(folder: string, outer: OpenContext) {
  const { log, signal, secrets, cwd } = outer
  const work = resolve(cwd, folder)
  await mkdir(work, { recursive: true })
  const machine = await log.section('Preparing this machine', () =>
    prepareMachine({ folder: work, log, signal }),
  )
  const registries: EmbeddedRegistry[] = []
  try {
    if (!machine.mavenArgs) throw noMaven(machine.skipped)
    for (const name of ENVIRONMENTS) {
      registries.push(await startRegistry({ folder: join(work, `registry-${name}`) }))
    }
    const project = await writeProject(work, machine, registries)
    const context = createContext({
      cwd: project,
      variables: {
        HOME: outer.variable('HOME'),
        CROSSCLOUD_CACHE: join(work, 'cache'),
      },
      log,
      secrets,
      signal,
    })
    try {
      const { base } = machine
      if (base) {
        const [first] = registries
        const to = parseReference(`${first?.address}/${BASE_NAME}:demo`)
        await log.section('Putting the base image into the first registry', async () =>
          pushBase(await context.registry(), base, to, log),
        )
      }
      const reached = await runRoad([...ENVIRONMENTS], machine.engine !== undefined, context)
      const result = judge(reached, machine.skipped)
      return { json: { ...result }, text: summary(result) }
    } finally {
      await context.close()
    }
  } finally {
    if (machine.engine) await clearEngine(machine.engine, 'webapi', ENVIRONMENTS, log)
    await machine.engine?.stop()
    await Promise.allSettled(registries.map((registry) => registry.close()))
  }
}

function noMaven(skipped: string[]): StepError {
  const why = skipped.find((sentence) => sentence.startsWith('No Maven')) ?? 'No Maven build.'
  return new StepError('NOT_FOUND', why, {
    hint: 'Install Maven and a JDK 17, or run the demo as root on Debian.',
  })
}

/** A copy of the example whose crosscloud.yml names this machine's registries and engine. */
async function writeProject(
  work: string,
  machine: DemoMachine,
  registries: readonly EmbeddedRegistry[],
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
  const base = machine.base ? `${registries[0]?.address}/${BASE_NAME}:demo` : 'scratch'
  settings.setIn(['image', 'base'], base)
  if (machine.base) settings.setIn(['image', 'webapp'], machine.base.webapp)
  if (machine.base) settings.setIn(['image', 'start-script'], true)
  ENVIRONMENTS.forEach((name, index) => {
    settings.setIn(['environments', name, 'image'], `${registries[index]?.address}/team/webapi`)
    settings.setIn(
      ['environments', name, 'hosts'],
      machine.engine ? { 'this-machine': machine.engine.url } : {},
    )
  })
  await writeFile(join(project, 'crosscloud.yml'), settings.toString())
  return project
}

function judge(environments: Reached[], skipped: string[]): DemoResult {
  const distinct = (values: readonly unknown[]) => new Set(values).size
  const release = environments[0]?.version
  return {
    release: `webapi@${release}`,
    environments,
    sameDigest: distinct(environments.map(({ digest }) => digest)) === 1,
    sameMd5: distinct(environments.map(({ warMd5 }) => warMd5)) === 1,
    configDiffers: distinct(environments.map(({ configRevision }) => configRevision)) > 1,
    skipped,
  }
}

function summary(result: DemoResult): string {
  const rows = result.environments.map((one) => [
    one.name,
    one.version,
    shortDigest(one.digest),
    one.warMd5,
    shortDigest(one.configRevision),
    one.containerId?.slice(0, 12) ?? '–',
    one.verified ? 'ran, every file verified' : 'image and config ready, not deployed',
  ])
  const headings = [
    'environment',
    'version',
    'image digest',
    'WAR MD5',
    'config revision',
    'container',
    'status',
  ]
  return ['', table(headings, rows), '', ...result.skipped, closing(result)].join('\n')
}

/** One line that says only what was seen. */
function closing(result: DemoResult): string {
  const { release, environments, sameDigest, sameMd5, configDiffers } = result
  const names = environments.map(({ name }) => name).join(' and ')
  if (!sameDigest || !sameMd5 || !configDiffers) {
    throw new StepError('VERIFY_FAILED', `${release}: image or WAR differs between ${names}`)
  }
  return environments.every(({ verified }) => verified)
    ? `Proved: ${release} ran in ${names} from one image digest and one WAR MD5, with different config.`
    : `Proved: ${release} is one image digest and one WAR MD5 for ${names}, with different config; it ran nowhere.`
}
