import { isStepError } from '../../../core/errors.ts'
import type { HostPreview, PreviewRequest } from '../../target.ts'
import { wantedAccess } from '../container/host-access.ts'
import type { ContainerInfo, ContainerSettings, Host } from '../host.ts'
import { type Ownership, refuseForeign } from '../rollout/owner.ts'
import { survey } from '../rollout/repair.ts'
import { freeSlot } from '../rollout/slots/switch.ts'
import { loopbackWarning } from '../slots.ts'

/** What a rollout would find on a host, by the same checks; nothing is changed. */
export async function previewHost<Instance>(
  host: Host,
  settings: { readonly containerName: string; readonly container: ContainerSettings },
  { image, diffIds, proxied }: PreviewRequest,
  ownership: Ownership,
  instanceOf: (container: ContainerInfo) => Instance,
): Promise<Omit<HostPreview, 'current'> & { current: Instance | undefined }> {
  const [found, heldLayers] = await Promise.all([
    survey(host, settings.containerName),
    host.heldLayers(image, diffIds),
  ])
  const { current, next, older } = found
  return {
    current: current && instanceOf(current),
    access: wantedAccess(settings.container).map((text) => ({
      text,
      isNew: !current?.access?.includes(text),
    })),
    leftovers: [next, older].flatMap((container) => container?.name ?? []),
    refusal: await refusalOf(async () => {
      refuseForeign(host, Object.values(found), ownership)
      await host.checkSettings(settings.container)
    }),
    warning: proxied ? undefined : loopbackWarning(host, settings.container),
    heldLayers,
    slot: settings.container.slots && freeSlot(found),
  }
}

async function refusalOf(check: () => Promise<void>) {
  try {
    await check()
  } catch (error) {
    if (isStepError(error)) return error
    throw error
  }
  return undefined
}
