import { StepError } from '../core/errors.ts'
import type { Plan, PlannedHost, PlannedProxy } from '../delivery/plan/schema.ts'

type PlannedServer = NonNullable<PlannedProxy['servers']>[number]

/** Words that a terminal and a merge request share. */

const UNITS = ['B', 'kB', 'MB', 'GB'] as const

/** `12.3 MB`, as registries and networks count: by thousands. */
export function bytesText(bytes: number): string {
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  const number = bytes / 1000 ** unit
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${UNITS[unit]}`
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

/** `webapi@1.0.0 → webapi@1.0.1` */
export function passage({ from, to }: Plan): string {
  return from === null ? to.name : `${from.name} → ${to.name}`
}

/** What happens to a host, without its name. */
export function hostText(
  { action, runs, lacks, error, slot, leftovers }: PlannedHost,
  { to }: Pick<Plan, 'to'>,
): string {
  if (action === 'keep') return 'runs it already, and is not touched'
  if (action === 'leave out') return 'is left out, and is behind from then on'
  if (error !== null) return `cannot be asked: ${error}`
  const now = runs && `${runs.release ?? runs.container}${runs.running ? '' : ' (stopped)'}`
  const place = slot === null ? '' : ` in slot ${slot}, beside it`
  const change = `${now ?? 'nothing'} → ${to.name}${now === null ? '' : place}`
  const repair = leftovers.length > 0 ? [`first repairs ${leftovers.join(', ')}`] : []
  return [change, ...repair, lackText(lacks)].join('; ')
}

/** What gives the new containers power over their hosts, and where that is new. */
export function accessTexts({ hosts }: Pick<Plan, 'hosts'>): string[] {
  const holders = hosts.filter(({ access }) => access.length > 0)
  const texts = new Set(holders.flatMap(({ access }) => access.map(({ text }) => text)))
  return [...texts].map((text) => {
    const isNew = (host: PlannedHost) =>
      host.access.some((each) => each.text === text && each.isNew)
    const where = holders.filter(isNew).map(({ name }) => name)
    if (where.length === 0) return `${text}, as now`
    return where.length === holders.length ? `NEW: ${text}` : `NEW on ${where.join(', ')}: ${text}`
  })
}

export function lackText(lacks: PlannedHost['lacks']): string {
  if (lacks === null) return 'what it must pull is not known'
  if (lacks.layers === 0) return 'has the image'
  return `pulls ${count(lacks.layers, 'layer')}, ${bytesText(lacks.bytes)}`
}

/** Releases that a rollback passes by, and why. */
export function skippedTexts({ skipped }: Pick<Plan, 'skipped'>): string[] {
  return skipped.map(
    ({ release, by, at, reason }) => `${release}: marked bad by ${by} since ${at}: ${reason}`,
  )
}

export const changeSigns = { added: '+', changed: '~', removed: '-', unknown: '?' } as const

/** Where the image comes from, where that is not where hosts pull it. */
export function copyText(image: NonNullable<Plan['image']>): string | undefined {
  if (image.copy === null) return undefined
  const { from, mounted } = image.copy
  const cost = mounted ? 'within the registry' : `${bytesText(image.bytes)} at most`
  return `copied first from ${from}, ${cost}`
}

/** What comes back when any host fails, and what does not. */
export function failureText({ hosts, rollout }: Plan): string {
  const changed = hosts.filter(({ action }) => action === 'replace' || action === 'create')
  const places = changed.map(({ name, restores, error }) => {
    if (error !== null) return `${name}: not known`
    return `${name}: ${restores ?? 'nothing, as now'}`
  })
  const kept = {
    restore: [],
    stop: [
      'only where it fails; hosts that are changed keep the new release, the rest is not touched',
    ],
    continue: ['only where it fails; all other hosts get the new release'],
  }[rollout.onFailure]
  return [`restores ${places.join(', ')}`, ...kept].join('; ')
}

/** In which order hosts are changed, and what runs before and after; undefined for one host alone. */
export function orderText({ rollout: { before, stages, after } }: Plan): string | undefined {
  if (before === null && after === null && stages.length < 2) return undefined
  const steps = stages.map(({ do: what, hosts, milliseconds }) => {
    if (what === 'change') return hosts.join(' and ')
    const seconds = `${(milliseconds ?? 0) / 1000} s`
    return what === 'pause' ? `wait ${seconds}` : `watch ${hosts.join(' and ')} for ${seconds}`
  })
  const command = (argv: string[] | null) => (argv ? [`run ${argv.join(' ')}`] : [])
  return [...command(before), ...steps, ...command(after)].join(', then ')
}

/** What the proxy has and is told, a line each; none without a proxy. */
export function proxyTexts({ proxy }: Pick<Plan, 'proxy'>): string[] {
  if (proxy === null) return []
  const { name, leftover, hosts, servers, canary } = proxy
  const steps = hosts.map(({ name: host, out, steps }) => {
    if (out) return `${host} is out of it: somebody took it out, and it stays out`
    return steps.map(({ do: what, server }) => `${what} ${server}`).join(', then ')
  })
  const share = canary === null ? [] : [canaryText(canary)]
  const repair = leftover === null ? [] : [`first repairs: ${leftover}`]
  return [
    servers ? `${name}: ${servers.map(serverText).join(', ')}` : name,
    ...[...repair, ...steps.filter(Boolean), ...share],
  ]
}

const canaryText = (share: number) =>
  share === 100
    ? 'the canary gets all requests, as no other host serves'
    : `the canary gets ${share} % of all requests`

function serverText({ name, mode, up, weight }: PlannedServer): string {
  const down = up === false && mode === 'in' ? ' but down' : ''
  const share = weight === null || weight === 100 ? '' : ` with ${weight} %`
  return `${name} ${mode}${down}${share}`
}

/** A plan of what could not start is an error of the command that was asked for it. */
export function planFailure({
  ready,
  release,
  environment,
  problems,
}: Plan): StepError | undefined {
  if (ready) return undefined
  const checks = [...new Set(problems.map(({ check }) => check))].join(', ')
  const message = `${release} cannot be deployed to ${environment} now: ${checks}`
  return new StepError('GATE_CLOSED', message, {
    hint: 'The plan says what stands in the way, and what to do.',
  })
}
