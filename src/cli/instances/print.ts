import type { Command } from 'commander'
import { hideConfigSecrets } from '../../delivery/config/known-secrets.ts'
import type { Context } from '../../delivery/context.ts'
import { resultText } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import type { Opened } from './open.ts'

/** Prints lines that others wrote as they come: without secrets, and without control over a terminal. */
export function linePrinter(
  command: Command,
  { log, secrets }: Pick<Context, 'log' | 'secrets'>,
  { streams, variables }: Pick<ProcessEnvironment, 'streams' | 'variables'>,
): (line: string, stream?: 'stdout' | 'stderr') => void {
  const { json, log: format } = command.optsWithGlobals<{ json?: boolean; log?: string }>()
  if (json) return () => {}
  if (format === 'json') return (line) => log.output(line)
  return (line, stream = 'stdout') =>
    streams[stream](`${resultText(line, variables, secrets.mask)}\n`)
}

/** Makes sure that secrets of the config are masked in what instances say, or tells that they are not. */
export async function maskConfig(
  command: Command,
  { environment }: Pick<Opened, 'environment'>,
  context: Context,
  process: Pick<ProcessEnvironment, 'streams' | 'variables'>,
): Promise<void> {
  warnOf(await hideConfigSecrets(environment, context), command, context, process)
}

/** Warns of secrets that are not masked. */
export function warnOf(
  lack: string | undefined,
  command: Command,
  context: Pick<Context, 'log' | 'secrets'>,
  { streams, variables }: Pick<ProcessEnvironment, 'streams' | 'variables'>,
): void {
  if (lack === undefined) return
  const { json, log: format } = command.optsWithGlobals<{ json?: boolean; log?: string }>()
  if (json || format === 'json') context.log.warn(lack)
  // Beside the lines, which another program may read.
  else streams.stderr(resultText(`warning: ${lack}\n`, variables, context.secrets.mask))
}

/** Tells lines of several instances apart; one alone needs no name. */
export function namePrefixes(
  instances: readonly { host: string; name: string }[],
): (instance: { host: string; name: string }) => string {
  if (instances.length < 2) return () => ''
  const hosts = new Set(instances.map(({ host }) => host))
  const isEnough = hosts.size === instances.length
  const nameOf = ({ host, name }: { host: string; name: string }) =>
    isEnough ? host : `${host}/${name}`
  const width = Math.max(...instances.map((instance) => nameOf(instance).length))
  return (instance) => `${nameOf(instance).padEnd(width)} | `
}
