import { throwIfCancelled, toStepError } from '../../../core/errors.ts'
import { settleAll } from '../../../core/settle-all.ts'
import { byText } from '../../responses.ts'
import type { InstanceResult } from '../../target.ts'
import type { Host } from '../host.ts'
import { refuseFilesOnVolumes } from '../placed-files.ts'
import { loopbackWarning } from '../slots.ts'
import { removeCommands, runCommand } from './command.ts'
import type { RolloutOptions } from './options.ts'
import { adoptedName, isOwn, refuseForeign } from './owner.ts'
import { activityOf, removeOrKeep, repair, survey } from './repair.ts'
import { restoreAll } from './restore.ts'
import type { Change } from './restore-host.ts'
import { nameOf, roles } from './roles.ts'
import { changeHosts } from './stages.ts'
import { refuseYounger } from './younger.ts'

/**
 * Puts the container on every host, by its strategy, or on none: when a host fails, it and, unless
 * the strategy lets them stay, the hosts before it get their old container back. Before anything is
 * stopped all hosts have responded, are repaired and hold the image, and the command `before` has
 * succeeded. Throws a RolloutFailure when a host failed.
 */
export async function rollOut(options: RolloutOptions): Promise<InstanceResult[]> {
  const { hosts, spec } = options
  refuseFilesOnVolumes(spec.files, spec.settings)
  const serving = await prepare(options)
  await runCommand('before', hosts[0], options)
  const changes = hosts.map((host): Change => ({ host, started: Date.now() }))
  const ending = await changeHosts(changes, serving, options)
  if (ending.failures.length === 0) {
    const failed = await runCommand('after', hosts[0], options).then(() => undefined, toStepError)
    if (failed) ending.failures.push({ error: failed })
  }
  const { failures, keep } = ending
  const failure = failures.length > 0 && (await restoreAll(changes, failures, options, keep))
  await options.proxy?.endCanary().catch((error: unknown) => {
    options.log.warn(
      `${toStepError(error).message}; the next deployment gives all hosts their share`,
    )
  })
  // What stays can no longer be restored, so nothing may fail.
  const stays = changes.filter(
    ({ result, standing }) => result && (!standing || standing.serves === 'new'),
  )
  await Promise.all(stays.map(({ host }) => tidy(host, options)))
  if (failure) throw failure
  return changes.flatMap(({ result }) => result ?? [])
}

/**
 * Everything that can be done while the old containers serve, on all hosts at once.
 * @returns the hosts where an old container serves
 */
async function prepare(options: RolloutOptions): Promise<ReadonlySet<Host>> {
  const { hosts, spec, log, signal, checkLock } = options
  throwIfCancelled(signal)
  await onAll(hosts, (host) => host.ping())
  await checkLock?.()
  await options.proxy?.prepare(hosts, log)
  const serving = new Set<Host>()
  await onAll(hosts, async (host) => {
    const found = await survey(host, spec.name)
    refuseForeign(host, Object.values(found), options)
    refuseYounger(host, Object.values(found), options)
    await host.checkSettings(spec.settings)
    await removeCommands(host, options)
    if (found.current?.running) serving.add(host)
    else await warnOfOthers(host, options)
    options.proxy?.judge(host, activityOf(found))
    await repair(host, spec.name, log, signal, options)
  })
  options.proxy?.reportOut(log)
  warnOfLoopback(options)
  throwIfCancelled(signal)
  await log.section(`pulling ${spec.image}`, () =>
    onAll(hosts, async (host) => {
      await host.pull(spec.image, (done, total) => log.progress(`  ${host.name}`, done, total))
      log.info(`${host.name} has the image`)
    }),
  )
  return serving
}

/** Runs on all hosts at once and names every host that failed. */
async function onAll(hosts: readonly Host[], work: (host: Host) => Promise<void>): Promise<void> {
  await settleAll(hosts.map(work))
}

/** A proxy that the rollout works sends nothing to a slot before it serves. */
function warnOfLoopback({ hosts, spec, log, proxy }: RolloutOptions): void {
  if (proxy) return
  const warnings = byText(
    hosts.map((host) => ({ host: host.name, text: loopbackWarning(host, spec.settings) })),
  )
  for (const warning of warnings) log.warn(warning)
}

/** After a change of `container.name`, the container with the old name still runs. */
async function warnOfOthers(host: Host, { spec, ownerLabels, log }: RolloutOptions): Promise<void> {
  if (ownerLabels === undefined) return
  const names = new Set(roles.map((role) => nameOf(spec.name, role)))
  const labels = Object.fromEntries(ownerLabels.map((label) => [label, spec.labels[label] ?? '']))
  const others = (await host.list(labels)).filter(
    ({ name, running }) => running && !names.has(name),
  )
  for (const { name } of others) {
    log.warn(
      `host ${host.name}: ${name}, of the same application and environment, runs beside ${spec.name}; if \`container.name\` was changed, remove it there: \`docker rm -f ${name}\``,
    )
  }
}

async function tidy(host: Host, options: RolloutOptions): Promise<void> {
  const { spec, log } = options
  const { name } = spec
  try {
    // Another deployer may be at work there once the lock is lost.
    await options.checkLock?.()
    const { previous, older } = await survey(host, name)
    if (older) await removeOrKeep(host, name, older, options)
    if (!previous || isOwn(previous, options)) return
    await removeOrKeep(host, name, previous, options)
    const kept = adoptedName(name, previous.id)
    log.info(`host ${host.name}: the container that was called ${name} is kept, stopped: ${kept}`)
  } catch (error) {
    log.warn(
      `${toStepError(error).message}; the next deployment will remove ${nameOf(name, 'older')}`,
    )
  }
}
