import type { ContainerSpec } from './host.ts'
import { isOnVolumeOf, volumePaths } from './placed-files.ts'
import { inSlot } from './slots.ts'

/**
 * A container that runs beside the one that serves, with the same variables, files and network, and
 * without its ports. Files are placed in the container itself: on a volume the container that serves
 * would see them. Where there are slots it has the values of the first.
 */
export function besideOf(wanted: ContainerSpec): ContainerSpec {
  const { slots } = wanted.settings
  const spec = slots ? inSlot(wanted, slots, 1) : wanted
  const { settings, files } = spec
  const volumes = settings.volumes.filter((volume) => {
    const [path = ''] = volumePaths({ volumes: [volume] })
    return !files.some((file) => isOnVolumeOf([path], file.path))
  })
  return { ...spec, settings: { ...settings, volumes, ports: [], restart: 'no', onVolume: false } }
}
