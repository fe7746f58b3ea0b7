import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { table } from '../cli/output.ts'
import { createContext, type OpenContext } from '../context.ts'
import { shortDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { parseReference } from '../registry/reference.ts'
import { type EmbeddedRegistry, startRegistry } from '../registry-server/server.ts'
import { pushBase } from './base-push.ts'
import { clearEngine } from './clear-engine.ts'
import { prepareMachine } from './machine.ts'
import { type EnvironmentResult, runPipeline } from './pipeline.ts'
import { baseIn, ENVIRONMENTS, writeProject } from './project.ts'

/** What the demo proved, as `--json` prints it. */
export interface DemoResult {
  release: string
  environments: EnvironmentResult[]
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
    const addresses = registries.map(({ address }) => address)
    const project = await writeProject(work, machine, addresses)
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
        const to = parseReference(baseIn(addresses))
        await log.section('Putting the base image into the first registry', async () =>
          pushBase(await context.registry(), base, to, log),
        )
      }
      const environments = await runPipeline(
        [...ENVIRONMENTS],
        machine.engine !== undefined,
        context,
      )
      const result = evaluate(environments, machine.skipped)
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

function evaluate(environments: EnvironmentResult[], skipped: string[]): DemoResult {
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
  const rows = result.environments.map((environment) => [
    environment.name,
    environment.version,
    shortDigest(environment.digest),
    environment.warMd5,
    shortDigest(environment.configRevision),
    environment.containerId?.slice(0, 12) ?? '–',
    environment.verified ? 'ran, every file verified' : 'image and config ready, not deployed',
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

/** One line that states only what was seen. */
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
