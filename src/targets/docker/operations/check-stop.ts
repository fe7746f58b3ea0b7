import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import type { ContainerInspectInfo } from 'dockerode'
import { isStepError } from '../../../core/errors.ts'
import { readInstanceFile } from '../../instance-files.ts'
import { slotOf } from '../../slot.ts'
import type { HostCheck } from '../../target.ts'
import { readServerXml, type ServerXml, tomcatFolder } from '../../tomcat.ts'
import { isLoopback, isUnspecified } from '../address.ts'
import type { Operating } from './operating.ts'
import { firstProcess, isJava } from './processes.ts'
import { variablesOf } from './variables.ts'

type Warnings = HostCheck['warnings']

const MOST_BYTES = 1024 * 1024
/** What a stop needs beside Tomcat's own waiting, in milliseconds. */
const MARGIN = 10_000
/** Docker's own, in seconds. */
const STOP_TIMEOUT = 10

/** What can be seen of how a container would end: whether requests that run then are finished. */
export async function checkStop(operating: Operating, name: string): Promise<Warnings> {
  const { docker, call, local } = operating
  const found = await call(
    `inspecting ${name}`,
    (abortSignal) => docker.getContainer(name).inspect({ abortSignal }),
    { fine: [404] },
  )
  if (typeof found === 'number' || found.Name !== `/${name}`) return []
  const server = await findServerXml(operating, found)
  // dockerode's types lack it.
  const { StopTimeout: stopTimeout = STOP_TIMEOUT } = found.Config as { StopTimeout?: number }
  const warnings = [
    ...firstProcessWarnings(await firstProcess(operating, found.Id)),
    ...loopbackWarnings(
      found.HostConfig.PortBindings,
      local && slotOf(found.Config.Labels) !== undefined,
    ),
    ...(server ? tomcatWarnings(server, stopTimeout) : []),
  ]
  return warnings.map(({ text, hint }) => ({ text: `${name}: ${text}`, hint }))
}

async function findServerXml(
  { docker, call }: Operating,
  { Id, Config }: ContainerInspectInfo,
): Promise<ServerXml | undefined> {
  const folder = tomcatFolder(variablesOf(Config.Env))
  if (folder === undefined) return undefined
  const path = posix.join(folder, 'conf/server.xml')
  const read = async (path: string) =>
    (await call(`reading ${path}`, (abortSignal) =>
      docker.getContainer(Id).getArchive({ path, abortSignal }),
    )) as Readable
  try {
    return readServerXml(String(await readInstanceFile(read, path, MOST_BYTES)))
  } catch (error) {
    if (isStepError(error, 'NOT_FOUND') || isStepError(error, 'CONFLICT')) return undefined
    throw error
  }
}

export function firstProcessWarnings(commandLine: string | undefined): Warnings {
  if (commandLine === undefined || isJava(commandLine)) return []
  return [
    {
      text: `its first process is ${commandLine.split(' ', 1)[0]}, not java: SIGTERM may not reach the application`,
      hint: 'Let the start script end with `exec`, as catalina.sh does.',
    },
  ]
}

/**
 * docker-proxy listens on loopback addresses, whether the application does or not. A slot that is
 * published on every address of this machine is one of two for a proxy here, which goes by loopback.
 */
export function loopbackWarnings(
  bindings: Readonly<Record<string, readonly { HostIp?: string }[] | null>> | null | undefined,
  isLocalSlot = false,
): Warnings {
  const publishedAt = (matches: (ip: string) => boolean) =>
    Object.entries(bindings ?? {}).flatMap(([port, all]) =>
      all?.some(({ HostIp = '' }) => matches(HostIp)) ? port : [],
    )
  const onLoopback = publishedAt(isLoopback)
  const ports = isLocalSlot ? [...onLoopback, ...publishedAt(isUnspecified)] : onLoopback
  if (ports.length === 0) return []
  const where =
    onLoopback.length > 0
      ? 'a loopback address'
      : 'every address, and a proxy on this machine reaches it on 127.0.0.1'
  return [
    {
      text: `${ports.join(', ')} is published on ${where}: docker-proxy takes connections there while the application does not listen, and resets them`,
      hint: "Publish on an address of the host, start the engine with `userland-proxy: false`, or use the host's network.",
    },
  ]
}

export function tomcatWarnings(server: ServerXml, stopTimeout: number): Warnings {
  const warnings: Warnings = []
  const { gracefulStop, opensWhenReady } = server
  if (gracefulStop === 0) {
    warnings.push({
      text: 'requests that run when it is stopped are cut: server.xml has no gracefulStopAwaitMillis',
      hint: 'Write <Service name="Catalina" gracefulStopAwaitMillis="30000">.',
    })
  }
  if (!opensWhenReady) {
    warnings.push({
      text: 'its port takes requests before the application is ready: server.xml has no bindOnInit="false"',
      hint: 'Write <Connector … bindOnInit="false">: then the port is closed while it starts and while it stops.',
    })
  }
  if (gracefulStop !== undefined && gracefulStop > 0) {
    const needed = Math.ceil((gracefulStop + MARGIN) / 1000)
    if (stopTimeout < needed) {
      warnings.push({
        text: `it is killed ${stopTimeout} s after it was asked to stop, and Tomcat waits ${gracefulStop / 1000} s for requests`,
        hint: `Set container.stop-timeout: ${needed}s or more.`,
      })
    }
  }
  return warnings
}
