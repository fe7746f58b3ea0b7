import { StepError } from '../../../core/errors.ts'
import { resolveHealth } from '../health/settings.ts'
import type { ContainerSettings } from '../host.ts'
import type { ParsedContainer } from '../settings.ts'
import { checkSlots } from '../slots.ts'
import { conflictsOf } from './conflicts.ts'
import type { EngineSettings } from './options.ts'

/** An environment's own settings over the common ones. */
export function mergeContainer(
  common: ParsedContainer = {},
  own: ParsedContainer = {},
): ParsedContainer {
  const merged = { ...common, ...own }
  // What belongs to the common network does not belong to another one.
  if (own.network !== undefined && own.networks === undefined) delete merged.networks
  if (own.networks !== undefined && own.network === undefined) delete merged.network
  if (own.network === 'host' && own.ports === undefined) delete merged.ports
  return merged
}

/**
 * With all defaults; INPUT_INVALID names settings that do not go together. All values are copied, so
 * that a variable that is not set is reported here and not while deploying.
 */
export function resolveContainer(
  common: ParsedContainer | undefined,
  own: ParsedContainer | undefined,
): ContainerSettings {
  const container = structuredClone(mergeContainer(common, own))
  const conflicts = conflictsOf(container)
  if (conflicts.length > 0) {
    const lines = conflicts.map(({ key, message }) => `container.${key} ${message}`)
    throw new StepError('INPUT_INVALID', lines.join('\n'), { hint: 'Correct these settings.' })
  }
  const { network, networks = [network ?? 'bridge'] } = container
  const [first = 'bridge', ...moreNetworks] = networks
  const settings: ContainerSettings = {
    ...engineSettings(container),
    network: first,
    moreNetworks,
    ports: container.ports ?? [],
    volumes: container.volumes ?? [],
    onVolume: container['on-volume'] ?? false,
    env: container.env ?? {},
    memory: container.memory,
    slots: container.slots,
    // An engine that was killed starts again what has "always", and nothing else.
    restart: container.restart ?? (container.slots ? 'always' : 'unless-stopped'),
    stopTimeout: Math.ceil((container['stop-timeout'] ?? 30_000) / 1000),
    health: container.health && resolveHealth(container.health),
  }
  checkSlots(settings)
  return settings
}

function engineSettings(container: ParsedContainer): EngineSettings {
  const { logging } = container
  return {
    extraHosts: container['extra-hosts'],
    dns: container.dns,
    hostname: container.hostname,
    cpus: container.cpus,
    memorySwap: container['memory-swap'],
    shmSize: container['shm-size'],
    ulimits: container.ulimits,
    user: container.user,
    readOnly: container['read-only'],
    tmpfs: container.tmpfs,
    devices: container.devices,
    capAdd: container['cap-add'],
    capDrop: container['cap-drop'],
    init: container.init,
    stopSignal: container['stop-signal'],
    logging: logging && { driver: logging.driver, options: logging.options ?? {} },
    labels: container.labels,
    sysctls: container.sysctls,
  }
}
