import { toStepError } from '../../core/errors.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { describeRemains } from '../../targets/remains.ts'
import { isSuccess } from '../../targets/responses.ts'
import type { Target } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { endingOf } from '../deployment/interrupted.ts'
import { readStatus } from '../deployment/status.ts'

/** A host that a person has left out, and the next step. */
export interface LeftOut {
  host: string
  text: string
  hint: string
}

/** Who was asked, and what of it is not known. */
export interface LeftOutHosts {
  hosts: LeftOut[]
  unknown: string[]
}

interface Place {
  app: string
  environment: EnvironmentSettings
  target: Pick<Target, 'previewProxy' | 'remains'>
}

/**
 * Hosts that a deployment passed by, as somebody said so, those that are out of the proxy, and those
 * that a deployment left as the next one must repair them.
 */
export async function findLeftOut(place: Place, context: Context): Promise<LeftOutHosts> {
  const names = new Set(place.environment.hosts.map(({ name }) => name))
  const asked = await Promise.allSettled([
    passedBy(place, context),
    outOfProxy(place),
    leftBehind(place, context),
  ])
  const hosts = asked.flatMap((each) => (each.status === 'fulfilled' ? each.value : []))
  const failed = asked.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
  return {
    hosts: hosts.filter(({ host }) => names.has(host)),
    unknown: failed.map(
      (error) => `it is not known which hosts are left out: ${toStepError(error).message}`,
    ),
  }
}

async function passedBy({ app, environment: { name } }: Place, context: Context) {
  const [cell] = await readStatus({ app, environment: name }, context)
  const { missing = [], current } = cell ?? {}
  if (missing.length === 0 || !current) return []
  const found = await (await context.ledger()).findDeployment(current.deployment)
  const why = found?.reason === undefined ? '' : `: ${found.reason}`
  return missing.map((host) => ({
    host,
    text: `it was left out of ${current.deployment} by ${current.by}${why}`,
    hint: `\`crosscloud deploy --missing --env ${name}\` brings ${current.version} there.`,
  }))
}

/** Nothing while a deployment is under way: it is at work on what is there. */
async function leftBehind({ app, environment: { name }, target }: Place, context: Context) {
  const responses = await target.remains()
  const [cell] = await readStatus({ app, environment: name }, context)
  if (cell?.underway?.state === 'running') return []
  const told = responses.filter(isSuccess).map(async ({ host, value }) => {
    const ending = value && (await endingOf(context)(host, value.labels))
    const text = value && describeRemains(value, ending)
    const hint = `The next \`deploy\` or \`rollback\` with \`--env ${name}\` puts it right.`
    return text === undefined ? [] : [{ host, text, hint }]
  })
  return (await Promise.all(told)).flat()
}

async function outOfProxy({ environment, target }: Place) {
  const proxy = await target.previewProxy()
  if (!proxy) return []
  return environment.hosts
    .filter(({ name }) => proxy.leftOut.includes(name))
    .map(({ name: host }) => ({
      host,
      text: `${proxy.name} sends it no requests: somebody took it out`,
      hint: 'Deployments leave it out of there; put it in again at the proxy once it may have requests.',
    }))
}
