import type { Command } from 'commander'
import { isDigest } from '../../core/digest.ts'
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
    .argument('<thing>', 'a container, an address people open, or an image by digest')
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
  deployment: Deployment | undefined
}

async function identify(thing: string, context: Context): Promise<Found> {
  const digest = /sha256:[0-9a-f]{64}$/.exec(thing)?.[0]
  if (digest !== undefined && isDigest(digest)) {
    const { app } = await context.settings()
    const release = await (await context.ledger()).findReleaseByDigest(app, digest)
    if (release) return { what: 'image', release: formatRelease(release), deployment: undefined }
    throw new StepError('NOT_FOUND', `no release of ${app} has ${digest}`, {
      hint: 'It was not pushed by crosscloud, or is of another application.',
    })
  }
  const found = /^https?:\/\//.test(thing)
    ? await findAddress(thing, context)
    : await findContainer(thing, context)
  if (found) return found
  throw new StepError('NOT_FOUND', `nothing here is called ${thing}`, {
    hint: 'Name a container on one of the hosts in crosscloud.yml, an address, or sha256:….',
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
  { what, release, deployment }: Found,
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
    json: { what, release: life.release, deployment: deployment ?? null, approvals, marks },
    text: lines.join('\n'),
  }
}
