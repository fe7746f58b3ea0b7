import type { Command } from 'commander'
import type { Digest } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import { joinErrors } from '../../core/settle-all.ts'
import type { Context } from '../../delivery/context.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import type { Deployment } from '../../ledger/ledger.ts'
import { instanceLabels } from '../../targets/labels.ts'
import { isFailure } from '../../targets/responses.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import { breakGlassNotes } from './history.ts'
import { evaluations, readLife, releaseFacts } from './show.ts'
import { minute } from './text.ts'

export function addExplain(program: Command, perform: Perform): void {
  const command = program
    .command('explain')
    .argument(
      '<thing>',
      'a container, an address people open, an image by digest, a WAR by its MD5, a commit, a release',
    )
    .description('What is this, where does it come from, and who let it in?')
  addExample(command, 'explain webapi-production')
  command.action(async (thing: string) => {
    await perform(command, async (context) => explain(await identify(thing, context), context))
  })
}

/** What a thing turned out to be. */
interface Found {
  /** `container webapi-production on app-01` */
  what: string
  release: string
  /** Where it is; undefined for what is in no environment by itself. */
  environment?: string | undefined
  deployment: Deployment | undefined
}

async function identify(thing: string, context: Context): Promise<Found> {
  const known = await findRelease(thing, context)
  if (known) return { ...known, deployment: undefined }
  const found = /^https?:\/\//.test(thing)
    ? await findAddress(thing, context)
    : await findContainer(thing, context)
  if (found) return found
  throw new StepError('NOT_FOUND', `nothing here is called ${thing}`, {
    hint: 'Name a container on one of the hosts in crosscloud.yml, an address, a release, a commit, the MD5 of a WAR, or sha256:….',
  })
}

/** A release by its name, its image, its WAR or its commit: the newest of those made of one WAR. */
async function findRelease(
  thing: string,
  context: Context,
): Promise<Pick<Found, 'what' | 'release'> | undefined> {
  if (/^[^/:]+@[^@/:]+$/.test(thing)) return { what: 'release', release: thing }
  const digest = /sha256:[0-9a-f]{64}$/.exec(thing)?.[0]
  const isHex = (length: number) => thing.length === length && /^[0-9a-f]+$/i.test(thing)
  const [isWar, isCommit] = [isHex(32), isHex(40)]
  if (digest === undefined && !isWar && !isCommit) return undefined
  const { app } = await context.settings()
  const ledger = await context.ledger()
  const hex = thing.toLowerCase()
  const found = digest
    ? await ledger.findReleaseByDigest(app, digest as Digest)
    : (await (isWar ? ledger.releasesByWar(app, hex, 1) : ledger.releases(app, 1, hex)))[0]
  const what = digest ? 'image' : isWar ? 'WAR' : 'commit'
  if (found) return { what, release: formatRelease(found) }
  throw new StepError('NOT_FOUND', `no release of ${app} has ${digest ?? `the ${what} ${hex}`}`, {
    hint: 'It was not pushed by crosscloud, or is of another application.',
  })
}

/** By name or id, on every host; it may be on one that does not answer. */
async function findContainer(name: string, context: Context): Promise<Found | undefined> {
  const { environments } = await context.settings()
  const ledger = await context.ledger()
  const failures: StepError[] = []
  for (const environment of Object.keys(environments)) {
    const target = await context.target(await context.environment(environment))
    for (const response of await target.instances({ name })) {
      if (isFailure(response)) {
        if (response.error.code !== 'UNAVAILABLE') throw response.error
        failures.push(response.error)
        continue
      }
      const [instance] = response.value
      if (!instance) continue
      const { host, running, labels } = instance
      const { application, version, deployment } = instanceLabels
      const [app, number, id] = [application, version, deployment].map((label) => labels[label])
      if (app === undefined || number === undefined) {
        throw new StepError('NOT_FOUND', `${name} on ${host} is not crosscloud's`)
      }
      return {
        what: `container ${instance.name} on ${host}, ${running ? 'running' : 'stopped'}`,
        release: `${app}@${number}`,
        environment,
        deployment: id === undefined ? undefined : await ledger.findDeployment(id),
      }
    }
  }
  const failure = joinErrors(failures)
  if (failure) throw failure
  return undefined
}

async function findAddress(address: string, context: Context): Promise<Found | undefined> {
  const { app, environments } = await context.settings()
  const running = await (await context.ledger()).current(app)
  const found = running.find(({ environment, hosts }) => {
    const url = environments[environment]?.url
    const known = [url, ...hosts.map((host) => host.url)].filter((known) => known !== undefined)
    return known.some((base) => isBelow(address, base))
  })
  return (
    found && {
      what: `${address}, which is ${found.environment}`,
      release: formatRelease(found),
      environment: found.environment,
      deployment: found,
    }
  )
}

function isBelow(address: string, base: string): boolean {
  if (!URL.canParse(address) || !URL.canParse(base)) return false
  const [a, b] = [new URL(address), new URL(base)]
  return a.origin === b.origin && a.pathname.startsWith(b.pathname)
}

async function explain(
  { what, release, environment, deployment }: Found,
  context: Context,
): Promise<CommandResult> {
  const life = await readLife(release, context)
  const used = new Set(deployment?.approvals)
  const approvals = deployment ? life.approvals.filter(({ id }) => used.has(id)) : life.approvals
  const marks = life.marks.filter(
    ({ environment }) => deployment === undefined || environment === deployment.environment,
  )
  const lines = [
    `${what}: ${release}`,
    ...(deployment
      ? [
          `Deployed ${minute(deployment.startedAt)} UTC to ${deployment.environment} by ${deployment.by}, as ${deployment.id}`,
          `State    ${deployment.state}${deployment.verified ? ', every file compared' : ''}`,
          `Config   ${deployment.configRevision}`,
          ...(deployment.reason ? [`Reason   ${deployment.reason}`] : []),
        ]
      : []),
    ...releaseFacts(life.release),
    ...breakGlassNotes(deployment ? [deployment] : []),
    ...evaluations(approvals, marks),
  ]
  return {
    json: {
      ...{ what, release: life.release, environment: environment ?? null },
      ...{ deployment: deployment ?? null, approvals, marks },
    },
    text: lines.join('\n'),
  }
}
