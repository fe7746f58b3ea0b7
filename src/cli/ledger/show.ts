import type { Command } from 'commander'
import type { Context } from '../../delivery/context.ts'
import { findRelease } from '../../delivery/release.ts'
import { formatRelease, parseRelease } from '../../delivery/release-name.ts'
import type { Approval, Deployment, Mark, Release } from '../../ledger/ledger.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import { breakGlassNotes, deploymentTable } from './history.ts'
import { minute, span } from './text.ts'

export function addShow(program: Command, perform: Perform): void {
  const command = program
    .command('show')
    .argument('<release>', 'as application@version')
    .description('The whole life of a release: how it was made, who judged it, where it went.')
  addExample(command, 'show webapi@1.4.2')
  command.action(async (name: string) => {
    await perform(command, async (context) => describeLife(await readLife(name, context)))
  })
}

export interface Life {
  release: Release
  approvals: Approval[]
  marks: Mark[]
  /** Newest first. */
  deployments: Deployment[]
}

export async function readLife(name: string, context: Context): Promise<Life> {
  const { app, version } = parseRelease(name)
  const ledger = await context.ledger()
  const release = await findRelease({ app, version }, ledger)
  const [approvals, marks, deployments] = await Promise.all([
    ledger.approvals(app, undefined, version),
    ledger.marks(app, version),
    ledger.deployments({ app, version, limit: 200 }),
  ])
  return { release, approvals, marks, deployments }
}

function describeLife({ release, approvals, marks, deployments }: Life): CommandResult {
  const lines = [
    formatRelease(release),
    ...releaseFacts(release),
    '',
    ...(deployments.length === 0
      ? ['It was never deployed.']
      : [
          deploymentTable(deployments),
          ...breakGlassNotes(deployments),
          '',
          ...hostLines(deployments),
        ]),
    ...evaluations(approvals, marks),
  ]
  return { json: { release, approvals, marks, deployments }, text: lines.join('\n').trimEnd() }
}

export function releaseFacts(release: Release): string[] {
  const facts: [string, string | undefined][] = [
    ['Image', `${release.repository}@${release.digest}`],
    ['Base', release.baseDigest],
    ['WAR', `MD5 ${release.warMd5}, ${release.warSize} bytes`],
    [
      'Commit',
      [release.commit, release.branch && `on ${release.branch}`].filter(Boolean).join(' '),
    ],
    ['Author', release.author],
    ['Baked', `${minute(release.bakedAt)} UTC by ${bakerOf(release)}`],
    ['Why', release.reason],
    ['Job', release.jobUrl ?? release.pipelineUrl],
  ]
  return facts.flatMap(([name, value]) => (value ? [`${name.padEnd(8)} ${value}`] : []))
}

function bakerOf({ bakedBy, bakedIdentity }: Release): string {
  if (bakedIdentity === undefined) return bakedBy
  return `${bakedBy} (${bakedIdentity === 'unverified' ? bakedIdentity : `signed by ${bakedIdentity}`})`
}

/** What became of each host, where the newest deployment of an environment says so. */
function hostLines(deployments: readonly Deployment[]): string[] {
  return deployments.flatMap(({ id, environment, state, hosts }) =>
    hosts.map(({ host, ok, containerId, duration, url }) => {
      const container = containerId ? ` as ${containerId.slice(0, 12)}` : ''
      const where = url ? `; then at ${url}` : ''
      if (!ok && state === 'succeeded') return `${id} ${environment}, ${host}: was left out`
      const how = ok ? 'runs' : 'did not change'
      return `${id} ${environment}, ${host}: ${how}${container} after ${span(duration)}${where}`
    }),
  )
}

export function evaluations(approvals: readonly Approval[], marks: readonly Mark[]): string[] {
  const decisions = approvals.map(({ id, by, decision, environment, at, reason, identity }) => {
    const proof = identity === 'unverified' ? 'unverified' : `signed by ${identity}`
    const why = reason ? `: ${reason}` : ''
    return `${id} ${minute(at)} ${by} ${decision} it for ${environment} (${proof})${why}`
  })
  const marked = marks.map(
    ({ at, by, bad, environment, reason }) =>
      `${minute(at)} ${by} marked it ${bad ? 'bad' : 'good again'} in ${environment}: ${reason}`,
  )
  return decisions.length + marked.length === 0 ? [] : ['', ...decisions, ...marked]
}
