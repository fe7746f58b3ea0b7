import { describe, isStepError, throwIfCancelled } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { type BaseImage, prepareBaseRootfs, readBaseImage } from './base-image.ts'
import { type Engine, findEngine, startEngine } from './engine.ts'
import { prepareMaven } from './maven.ts'
import { installPackages, missingPackages, type Need } from './packages.ts'

export type { BaseImage } from './base-image.ts'
export type { Engine } from './engine.ts'

/** What this machine gives the demo. What is absent is explained in `skipped`. */
export interface DemoMachine {
  /** Arguments that `mvn` needs here besides its goals; absent when it cannot build. */
  mavenArgs?: string[]
  engine?: Engine
  base?: BaseImage
  /** One plain sentence for each thing that cannot be had. */
  skipped: string[]
}

export interface MachineOptions {
  /** The demo's work folder; what is made here is kept and found again by the next run. */
  folder: string
  log: Log
  signal?: AbortSignal | undefined
}

/**
 * Gets the machine ready: an engine, Maven and a base image, installing Debian's packages where
 * something is missing. Nothing that cannot be had is an error. Throws only when cancelled, and
 * then leaves no engine running. The caller stops the engine when it is done.
 */
export async function prepareMachine(options: MachineOptions): Promise<DemoMachine> {
  const { folder, log, signal } = options
  throwIfCancelled(signal)
  const found = await findEngine(log)
  if (found) log.info(`Using the Docker Engine that answers at ${found.socket}`)
  const built = await readBaseImage(folder)
  const needs: Need[] = ['maven', ...need(!found, 'engine'), ...need(!built, 'base')]
  const notInstalled = await install(needs, options)

  const skipped: string[] = []
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      const because = (isStepError(error, 'NOT_FOUND') && notInstalled) || sentence(error)
      skipped.push(`${what}: ${because}`)
      return undefined
    }
  }
  const [engine, mavenArgs, base] = await Promise.all([
    attempt('No Docker Engine', async () => found ?? (await startEngine(folder, { log, signal }))),
    attempt('No Maven build', () => prepareMaven(folder, { signal })),
    attempt('No base image', () => prepareBaseRootfs(folder, log, signal)),
  ])
  if (signal?.aborted) await engine?.stop()
  throwIfCancelled(signal)
  return {
    ...(engine ? { engine } : {}),
    ...(mavenArgs ? { mavenArgs } : {}),
    ...(base ? { base } : {}),
    skipped,
  }
}

function need(needed: boolean, what: Need): Need[] {
  return needed ? [what] : []
}

/** Installs what is missing; the reason, as a sentence, when that cannot be done. */
async function install(
  needs: readonly Need[],
  { log, signal }: MachineOptions,
): Promise<string | undefined> {
  try {
    await installPackages(await missingPackages(needs), { log, signal })
    return undefined
  } catch (error) {
    throwIfCancelled(signal)
    log.debug(describe(error))
    return sentence(error)
  }
}

/** An error as one sentence: a failed program's message has its last words on further lines. */
function sentence(error: unknown): string {
  const [first = '', ...rest] = describe(error).split('\n')
  const last = rest.filter((line) => line.trim()).at(-1)
  return `${last ? `${first}: ${last.trim()}` : first}.`.replace(/\.\.$/, '.')
}
