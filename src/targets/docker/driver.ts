import type Docker from 'dockerode'
import { StepError, toStepError } from '../../core/errors.ts'
import type { EngineAddress } from './address.ts'
import { ARCHIVE_TIMEOUT, openArchive } from './archive.ts'
import { type Caller, caller, VERB_TIMEOUT } from './call.ts'
import { type Engine, openEngine, type TlsFiles } from './connect.ts'
import { hostAccess } from './container/host-access.ts'
import { portsOf } from './container/ports.ts'
import { checkRequirements, joinNetworks } from './container/requirements.ts'
import { changes, origin, placeFiles, placeOnVolumes, putBack, statOf } from './container-files.ts'
import { addressOf, containerOptions, RESTART_LABEL } from './container-options.ts'
import { type HostName, startError, statusOf } from './errors.ts'
import { engineHealth } from './health/engine.ts'
import type { ContainerInfo, ContainerSpec, Host, RegistryCredential } from './host.ts'
import { heldLayers } from './operations/held-layers.ts'
import { hostOperations } from './operations/operations.ts'
import { checkFiles } from './placed-files.ts'
import { pullImage } from './pull.ts'
import { runToEnd } from './run.ts'

export interface DockerHostOptions {
  /** How people call the host: `app-01`. */
  name: string
  address: EngineAddress
  /** For a registry as the image names it, `docker.io` when it names none. */
  credentials: (registry: string) => Promise<RegistryCredential | undefined>
  /**
   * Ends what can last: pings, pulls and archives. The small verbs run to their end, so that an
   * aborted rollout can still restore the old container.
   */
  signal: AbortSignal
  tls?: TlsFiles | undefined
  /** The environment that it is a host of, for commands that hints name. */
  environment?: string | undefined
  /** Where ports are published that name no address; default: everywhere. */
  bind?: string | undefined
  /** Takes secrets out of what containers say; without it nothing is known to be one. */
  mask?: ((text: string) => string) | undefined
  /** Milliseconds for which an engine may send nothing in the middle of an archive. */
  archiveTimeout?: number | undefined
  /** A file for `ssh -F`; without it ssh reads the user's own. */
  sshConfig?: string | undefined
}

const PING_TIMEOUT = 15_000

/** A host by its Docker Engine. Nothing is sent before the first verb. */
export async function connectDocker(options: DockerHostOptions): Promise<Host> {
  const { name, address, signal, environment = '…', archiveTimeout = ARCHIVE_TIMEOUT } = options
  const engine = await openEngine(options)
  const { docker } = engine
  const host: HostName = { name, address: address.text }
  const closing = new AbortController()
  const call = caller(host, closing.signal)
  const byId = (id: string) => docker.getContainer(id)

  const start = async (id: string) => {
    const container = byId(id)
    const { Name, Config, HostConfig } = await call(`starting ${id}`, (abortSignal) =>
      container.inspect({ abortSignal }),
    )
    const wanted = Config.Labels[RESTART_LABEL]
    if (wanted && HostConfig.RestartPolicy?.Name !== wanted) {
      await setRestartPolicy(call, container, wanted)
    }
    try {
      await container.start({ abortSignal: AbortSignal.timeout(VERB_TIMEOUT) })
    } catch (error) {
      if (statusOf(error) === 304) return
      throw startError(host, Name.slice(1), error)
    }
  }

  return {
    ...hostOperations({
      ...{ docker, host, call, environment },
      closed: closing.signal,
      local: engine.local,
    }),
    name,
    bind: options.bind,
    isLocal: engine.local,
    mask: options.mask ?? ((text) => text),
    async ping() {
      const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(PING_TIMEOUT)])
      // dockerode's types know no options here, its code does.
      const ping = docker.ping as (options: { abortSignal: AbortSignal }) => Promise<unknown>
      await call('ping', () => ping.call(docker, { abortSignal }))
    },
    checkSettings: (settings) => checkRequirements(docker, call, host, settings),
    pull: (image, onProgress) =>
      pullImage({ docker, host, credentials: options.credentials, signal }, image, onProgress),
    heldLayers: (image, diffIds) => heldLayers(docker, call, image, diffIds),
    inspect: (container) => inspect(engine, call, container),
    async list(labels) {
      const filters = { label: Object.entries(labels).map(([key, value]) => `${key}=${value}`) }
      const found = await call('listing containers', (abortSignal) =>
        docker.listContainers({ all: true, filters, abortSignal }),
      )
      const containers = await Promise.all(found.map(({ Id }) => inspect(engine, call, Id)))
      return containers.filter((container) => container !== undefined)
    },
    create: (spec) => create(engine, call, spec, options.bind),
    placeOnVolumes: (id, spec) => placeOnVolumes(byId(id), call, spec),
    putBack: (id) => putBack(byId(id), call),
    start,
    run: (id, onLine, stop) => runToEnd({ docker, id, call, start: () => start(id) }, onLine, stop),
    stop: (id, seconds) => stop(docker, call, id, seconds),
    async rename(id, newName) {
      await call(
        `renaming ${id.slice(0, 12)} to ${newName}`,
        (abortSignal) => byId(id).rename({ name: newName, abortSignal }),
        { hint: `See who has that name on the host: \`docker ps -a --filter name=${newName}\`` },
      )
    },
    async remove(id) {
      const container = byId(id)
      const doing = `removing ${id.slice(0, 12)}`
      const remove = (abortSignal: AbortSignal) =>
        container.remove({ force: true, v: true, abortSignal })
      // 409: another removal of it is under way.
      const status = await call(doing, remove, { fine: [404, 409] })
      if (status !== 409) return
      const gone = (abortSignal: AbortSignal) =>
        container.wait({ condition: 'removed', abortSignal })
      await call(doing, gone, { fine: [404] })
    },
    logs: (id, lines) => logs(docker, call, id, lines),
    archive: (id, path) => openArchive(byId(id), { host, path, signal, timeout: archiveTimeout }),
    changes: (id) => changes(byId(id), call),
    origin: (id) => origin(byId(id), call),
    async isFolder(id, path) {
      const found = await statOf(byId(id), call, path, `container ${id.slice(0, 12)}`)
      return found?.kind === 'folder'
    },
    async readLink(id, path) {
      const name = `container ${id.slice(0, 12)}`
      const found = await statOf(byId(id), call, path, name)
      if (found?.kind !== 'link') return undefined
      if (found.target !== undefined) return found.target
      throw new StepError('CONFLICT', `${name} on ${host.name}: nobody knows where ${path} leads`, {
        hint: 'Give the path that this link leads to.',
      })
    },
    async close() {
      closing.abort()
      engine.close()
    },
  }
}

async function inspect(
  engine: Engine,
  call: Caller,
  name: string,
): Promise<ContainerInfo | undefined> {
  const container = engine.docker.getContainer(encodeURIComponent(name))
  const found = await call(
    `inspecting ${name}`,
    (abortSignal) => container.inspect({ abortSignal }),
    { fine: [404] },
  )
  if (typeof found === 'number') return undefined
  // The engine also takes the first digits of an id for a name.
  if (found.Name !== `/${name}` && found.Id !== name) return undefined
  const { State } = found
  const running = State.Running && !State.Restarting
  return {
    id: found.Id,
    name: found.Name.slice(1),
    image: found.Config.Image,
    labels: found.Config.Labels,
    running,
    exitCode: running || State.Status === 'created' ? undefined : State.ExitCode,
    restarts: found.RestartCount,
    isRestarting: State.Restarting,
    ports: portsOf(found),
    outOfMemory: State.OOMKilled,
    ...engineHealth(found),
    access: hostAccess(found),
    address: (port) => addressOf(found, port, engine),
  }
}

async function create(
  engine: Engine,
  call: Caller,
  spec: ContainerSpec,
  bind: string | undefined,
): Promise<ContainerInfo> {
  const { docker } = engine
  checkFiles(spec.files)
  const options = containerOptions(spec, bind)
  const container = await call(
    `creating ${spec.name}`,
    (abortSignal) => docker.createContainer({ ...options, abortSignal }),
    { hint: 'Look at docker ps -a and docker images on that host.' },
  )
  try {
    await joinNetworks(docker, call, container.id, spec.settings)
    await placeFiles(container, call, spec)
    const info = await inspect(engine, call, container.id)
    if (info) return info
    throw new StepError('CONFLICT', `${spec.name} was removed by somebody while it was made`, {
      hint: 'See who else works on this host, then run the command again.',
    })
  } catch (error) {
    const remove = (abortSignal: AbortSignal) =>
      container.remove({ force: true, v: true, abortSignal })
    // The first error is thrown; what stays behind is repaired by the next run.
    await call(`removing ${spec.name}`, remove, { fine: [404] }).catch(() => {})
    throw error
  }
}

async function setRestartPolicy(call: Caller, container: Docker.Container, policy: string) {
  await call(`setting the restart policy of ${container.id.slice(0, 12)}`, (abortSignal) =>
    container.update({ RestartPolicy: { Name: policy }, abortSignal } as object),
  )
}

/** An engine refuses it when the container ends right then; once stopped, it takes it. */
async function trySetRestartPolicy(call: Caller, container: Docker.Container, policy: string) {
  try {
    await setRestartPolicy(call, container, policy)
    return true
  } catch (error) {
    if (statusOf(toStepError(error).cause) === undefined) throw error
    return false
  }
}

/**
 * With the policy `always` an engine starts even stopped containers when it starts itself: after
 * a reboot old and new would run side by side. So a stopped container has no such policy until `start`.
 */
async function stop(docker: Docker, call: Caller, id: string, seconds: number): Promise<void> {
  const container = docker.getContainer(id)
  const doing = `stopping ${id.slice(0, 12)}`
  const found = await call(doing, (abortSignal) => container.inspect({ abortSignal }), {
    fine: [404],
  })
  if (typeof found === 'number') return
  const isAlways = found.HostConfig.RestartPolicy?.Name === 'always'
  // A container that is not ours has no such label; with this policy it stays stopped, too.
  const policy = found.Config.Labels[RESTART_LABEL] ? 'no' : 'unless-stopped'
  const isSet = !isAlways || (await trySetRestartPolicy(call, container, policy))
  await call(doing, (abortSignal) => container.stop({ t: seconds, abortSignal }), {
    fine: [304, 404],
    timeout: VERB_TIMEOUT + seconds * 1000,
  })
  if (!isSet) await setRestartPolicy(call, container, policy)
}

async function logs(docker: Docker, call: Caller, id: string, lines: number): Promise<string[]> {
  const container = docker.getContainer(id)
  const doing = `reading the log of ${id.slice(0, 12)}`
  const { Config } = await call(doing, (abortSignal) => container.inspect({ abortSignal }))
  const wanted = { follow: false as const, stdout: true, stderr: true, tail: lines }
  const response: unknown = await call(doing, (abortSignal) =>
    container.logs({ ...wanted, abortSignal }),
  )
  // dockerode parses a response that happens to be JSON; only an unframed response can be.
  const bytes = Buffer.isBuffer(response) ? response : Buffer.from(JSON.stringify(response))
  const text = (Config.Tty ? bytes : unframe(bytes)).toString('utf8')
  const all = text.split(/\r?\n/)
  if (all.at(-1) === '') all.pop()
  return all.slice(-lines)
}

/** Docker's stream format: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach */
function unframe(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at + 8 <= bytes.length; ) {
    const end = at + 8 + bytes.readUInt32BE(at + 4)
    parts.push(bytes.subarray(at + 8, end))
    at = end
  }
  return Buffer.concat(parts)
}
