import type Docker from 'dockerode'
import { StepError } from '../../../core/errors.ts'
import { didYouMean } from '../../../core/settings/suggest.ts'
import type { Caller } from '../call.ts'
import type { HostName } from '../errors.ts'
import type { ContainerSettings } from '../host.ts'

/** Networks that every engine has, and modes that are none. */
const ALWAYS_THERE = /^(?:default|bridge|host|none)$/

/**
 * What a host must have for these settings, asked before anything is changed: engines look for some
 * of it only when they start a container, and leave out what their kernel cannot do.
 */
export async function checkRequirements(
  docker: Docker,
  call: Caller,
  host: HostName,
  settings: ContainerSettings,
): Promise<void> {
  const { network, moreNetworks = [] } = settings
  const networks = [network, ...moreNetworks].filter((name) => !ALWAYS_THERE.test(name))
  const other = /^container:(.+)/.exec(network)?.[1]
  if (other !== undefined) await requireContainer(docker, call, host, other)
  else if (networks.length > 0) await requireNetworks(docker, call, host, networks)
  const { cpus, memorySwap, logging } = settings
  if (cpus !== undefined || memorySwap !== undefined || logging?.driver !== undefined) {
    const about = (abortSignal: AbortSignal) =>
      (docker.info as (options: object) => Promise<EngineFacts>).call(docker, { abortSignal })
    checkFacts(await call('asking what the engine can do', about), host, settings)
  }
}

async function requireNetworks(
  docker: Docker,
  call: Caller,
  { name: host }: HostName,
  wanted: readonly string[],
) {
  const list = (abortSignal: AbortSignal) => docker.listNetworks({ abortSignal })
  const found = await call('listing networks', list)
  const missing = wanted.find((name) =>
    found.every(({ Name, Id }) => Name !== name && !Id.startsWith(name)),
  )
  if (missing === undefined) return
  const meant = didYouMean(
    missing,
    found.map(({ Name }) => Name),
  )
  throw new StepError('NOT_FOUND', `host ${host}: there is no network ${missing}${meant}`, {
    hint: `Correct container.network, or make it on that host: \`docker network create ${missing}\``,
  })
}

async function requireContainer(
  docker: Docker,
  call: Caller,
  { name: host }: HostName,
  name: string,
) {
  const container = docker.getContainer(encodeURIComponent(name))
  const look = (abortSignal: AbortSignal) => container.inspect({ abortSignal })
  const found = await call(`looking for container ${name}`, look, { fine: [404] })
  if (found !== 404) return
  throw new StepError('NOT_FOUND', `host ${host}: there is no container ${name}`, {
    hint: 'container.network names it.',
  })
}

/** https://docs.docker.com/reference/api/engine/version/v1.41/#tag/System/operation/SystemInfo */
interface EngineFacts {
  NCPU?: number
  CpuCfsQuota?: boolean
  SwapLimit?: boolean
  Plugins?: { Log?: string[] }
}

function checkFacts(
  { NCPU, CpuCfsQuota, SwapLimit, Plugins }: EngineFacts,
  { name }: HostName,
  { cpus, memorySwap, logging }: ContainerSettings,
): void {
  const bad = (what: string, hint: string) =>
    new StepError('INPUT_INVALID', `host ${name}: ${what}`, { hint })
  if (cpus !== undefined && NCPU !== undefined && cpus > NCPU) {
    throw bad(`it has ${NCPU} CPUs, container.cpus wants ${cpus}`, 'Lower container.cpus.')
  }
  if (cpus !== undefined && CpuCfsQuota === false) {
    throw bad('its kernel limits no CPU time', 'Leave out container.cpus for this host.')
  }
  if (memorySwap !== undefined && SwapLimit === false) {
    const hint = 'Leave out container.memory-swap, or boot that host with swapaccount=1.'
    throw bad('its kernel limits no swap', hint)
  }
  const [driver, drivers] = [logging?.driver, Plugins?.Log ?? []]
  if (driver !== undefined && driver !== 'none' && !drivers.includes(driver)) {
    const hint = `It has ${drivers.join(', ')}.`
    throw bad(`there is no log driver ${driver}${didYouMean(driver, drivers)}`, hint)
  }
}

/** A container is created in its first network; it joins the others before it starts. */
export async function joinNetworks(
  docker: Docker,
  call: Caller,
  id: string,
  { moreNetworks = [] }: ContainerSettings,
): Promise<void> {
  for (const name of moreNetworks) {
    const network = docker.getNetwork(encodeURIComponent(name))
    await call(`joining network ${name}`, (abortSignal) =>
      network.connect({ Container: id, abortSignal } as { Container: string }),
    )
  }
}
