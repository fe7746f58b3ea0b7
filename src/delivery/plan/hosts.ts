import { instanceLabels } from '../../targets/labels.ts'
import { type HostResponse, isFailure } from '../../targets/responses.ts'
import { planStages } from '../../targets/strategy.ts'
import type { HostPreview, Instance } from '../../targets/target.ts'
import type { HostChoice } from '../deployment/host-choice.ts'
import { argvOf } from '../deployment/one-off.ts'
import type { DeploymentRequest } from '../deployment/request.ts'
import { strategyOf } from '../deployment/rollout.ts'
import type { RemoteImage } from '../image/remote-image.ts'
import { formatRelease } from '../release-name.ts'
import type { Plan, PlannedHost } from './schema.ts'

const nothing = {
  runs: null,
  lacks: null,
  slot: null,
  access: [],
  leftovers: [],
  restores: null,
  error: null,
}

/** Every host of the environment: those that are changed, in order, then those that are not. */
export function planHosts(
  { environment, hosts }: DeploymentRequest,
  responses: readonly HostResponse<HostPreview>[],
  image: RemoteImage | undefined,
): PlannedHost[] {
  const addressOf = (name: string) =>
    environment.hosts.find((host) => host.name === name)?.address.text ?? ''
  const changed = hosts.change.map(({ name, address }) => {
    const response = responses.find(({ host }) => host === name)
    return planHost(name, address.text, response, image)
  })
  return [...changed, ...unchanged(hosts, addressOf)]
}

/** In which order, and how many at once, by the rollout's own strategy. */
export function planRollout(request: DeploymentRequest): Plan['rollout'] {
  const strategy = strategyOf(request)
  const names = request.hosts.change.map(({ name }) => name)
  const { before, after } = argvOf(request) ?? {}
  const stages = planStages(names, strategy).map((stage) => ({
    do: stage.do,
    hosts: 'hosts' in stage ? [...stage.hosts] : [],
    milliseconds: 'milliseconds' in stage ? stage.milliseconds : null,
  }))
  const words = (argv: readonly string[] | undefined) => (argv ? [...argv] : null)
  return { before: words(before), stages, after: words(after), onFailure: strategy.onFailure }
}

function planHost(
  name: string,
  address: string,
  response: HostResponse<HostPreview> | undefined,
  image: RemoteImage | undefined,
): PlannedHost {
  if (response === undefined || isFailure(response)) {
    const error = response?.error.message ?? 'it was not asked'
    return { name, address, action: 'replace', ...nothing, error }
  }
  const { current, access, leftovers, heldLayers, slot = null } = response.value
  const runs = current ? describeInstance(current) : null
  return {
    name,
    address,
    action: current ? 'replace' : 'create',
    runs,
    lacks: image ? lackOf(image, heldLayers) : null,
    slot,
    access,
    leftovers,
    restores:
      runs && `${runs.release ?? runs.container}${runs.running ? '' : ', stopped as it is'}`,
    error: null,
  }
}

function describeInstance({ labels, name, running }: Instance): PlannedHost['runs'] {
  const { [instanceLabels.application]: app, [instanceLabels.version]: version } = labels
  const isOurs = app !== undefined && version !== undefined
  return {
    release: isOurs ? formatRelease({ app, version }) : null,
    deployment: labels[instanceLabels.deployment] ?? null,
    container: name,
    running,
  }
}

function lackOf({ content: { layers } }: RemoteImage, held: number): PlannedHost['lacks'] {
  const lacking = layers.slice(held)
  return { layers: lacking.length, bytes: sizeOf(lacking) }
}

export function sizeOf(layers: readonly { size: number }[]): number {
  return layers.reduce((sum, { size }) => sum + size, 0)
}

function unchanged(
  { kept, without }: HostChoice,
  addressOf: (name: string) => string,
): PlannedHost[] {
  const entry = (action: 'keep' | 'leave out') => (name: string) =>
    ({ name, address: addressOf(name), action, ...nothing }) as const
  return [...kept.map(({ host }) => host).map(entry('keep')), ...without.map(entry('leave out'))]
}
