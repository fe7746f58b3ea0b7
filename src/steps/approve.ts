import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { seeConfig } from '../delivery/config/release-config.ts'
import type { Context } from '../delivery/context.ts'
import { evaluate } from '../delivery/gate/gate.ts'
import { findOwnRelease } from '../delivery/release.ts'
import { formatRelease } from '../delivery/release-name.ts'
import { warnOfOlder } from '../delivery/release-order.ts'
import type { Evaluation } from '../gate/rules.ts'
import type { Who } from '../identity/who.ts'
import type { Approval } from '../ledger/ledger.ts'
import { reasonInput, releaseName, remote } from './inputs.ts'
import { defineStep } from './step.ts'

export const approve = defineStep({
  name: 'approve',
  summary: 'Let a release through the gate of an environment, with your name on it.',
  example: 'approve --release webapi@1.4.2 --env production --reason "tested by QA"',
  ci: { environment: 'prepare', identity: true, proven: true },
  inputs: z.object({
    release: remote(releaseName.describe('Release, as application@version')),
    env: remote(z.string().describe('Environment it may go to')),
    reason: reasonInput,
    reject: remote(z.boolean().default(false).describe('Keep the release out instead')),
  }),
  outputs: z.object({
    release: z.string().describe('Release, as application@version'),
    environment: z.string().describe('Environment it may go to'),
    approval: z.string().describe('Identifier of the approval in the ledger'),
    decision: z.enum(['approved', 'rejected']).describe('The decision'),
    by: z.string().describe('Who decided'),
    identity: z.string().describe('Issuer of the token that proves who it was, or unverified'),
    configRevision: z.string().optional().describe('Config revision it is approved with'),
    running: z.string().optional().describe('Release that runs there now'),
    configChanges: z
      .array(z.string())
      .optional()
      .describe('Keys of its config that differ from what runs there now'),
    open: z.boolean().describe('Whether the gate is open now'),
    missing: z.array(z.string()).describe('What keeps the gate closed still'),
  }),
  report: ({ release, environment, decision, by, identity, open, missing, ...config }) => [
    `${by} ${decision} ${release} for ${environment}`,
    ...configLines(config),
    identity === 'unverified' ? 'Identity not verified' : `Identity signed by ${identity}`,
    ...(open ? ['The gate is open: the deployment may start.'] : ['The gate is still closed:']),
    ...missing.map((line) => `  ${line}`),
  ],
  async run({ release: name, env, reason, reject }, context) {
    const environment = await context.environment(env)
    await requireIdentity(env, context)
    const ledger = await context.ledger()
    const release = await findOwnRelease(name, context)
    const who = await context.identify(env, { required: true, strict: true })
    await requireProof(who, context)
    const follows = reject || environment.gate?.config !== 'approve'
    const config = follows ? undefined : await seeConfig(release, environment, context)
    const configRevision = config?.revision
    const decision = {
      app: release.app,
      environment: env,
      version: release.version,
      digest: release.digest,
      configRevision,
      decision: reject ? ('rejected' as const) : ('approved' as const),
      by: who.login,
      byId: who.id,
      byMail: who.mail,
      groups: who.groups,
      identity: who.identity,
      tokenHash: who.tokenHash,
      reason: reason || undefined,
    }
    // Evaluated before it is written: a vote that does not count is refused, not kept.
    const draft: Approval = { ...decision, id: 'draft', at: new Date().toISOString() }
    const evaluation = await evaluate(
      { release, environment, configRevision },
      who,
      [draft],
      context,
    )
    if (evaluation === undefined) throw hasNoGate(env)
    refuseUncounted(draft, evaluation)
    const { id } = await ledger.recordApproval(decision, who.proof)
    if (!reject) await warnOfOlder(release, env, context)
    return {
      release: formatRelease(release),
      environment: env,
      approval: id,
      decision: decision.decision,
      by: who.login,
      identity: who.identity,
      configRevision,
      running: config?.since?.release,
      configChanges: config?.since?.changes,
      open: evaluation.open,
      missing: evaluation.problems,
    }
  },
})

/** Whose vote does not count learns it now, not from the deployment. */
function refuseUncounted(draft: Approval, evaluation: Evaluation<Approval>): void {
  const isRejection = draft.decision === 'rejected'
  const { counted, rejections, problems, mayApprove } = evaluation
  if ((isRejection ? rejections : counted).includes(draft)) return
  const { by, app, version, environment } = draft
  const verb = isRejection ? 'reject' : 'approve'
  const fact = `${by} cannot ${verb} ${formatRelease({ app, version })} for ${environment}`
  throw new StepError('GATE_CLOSED', [fact, ...(isRejection ? [] : problems)].join('\n'), {
    hint: isRejection
      ? `Those who may approve may reject it, too: ${mayApprove}.`
      : `${mayApprove} may approve.`,
  })
}

/** What is approved beside the image. */
function configLines(config: {
  configRevision?: string | undefined
  running?: string | undefined
  configChanges?: readonly string[] | undefined
}): string[] {
  const { configRevision, running, configChanges = [] } = config
  if (configRevision === undefined) return []
  const than = `than that of ${running}, which runs there`
  const compared = configChanges.length > 0 ? `, other ${than}:` : `, no other ${than}`
  return [
    `Config   ${configRevision}${running === undefined ? '' : compared}`,
    ...configChanges.map((line) => `  ${line}`),
  ]
}

async function requireIdentity(environment: string, context: Context): Promise<void> {
  const { identity, file } = await context.settings()
  if (identity !== undefined) return
  throw new StepError(
    'INPUT_INVALID',
    `${file} does not say how it is known who approves for ${environment}`,
    {
      hint: 'Write identity: { issuer, audience, project } for signed tokens, or identity: unverified.',
    },
  )
}

/** On a server, whoever comes without the token of a job: nothing would prove the approval later. */
async function requireProof({ login, proof }: Who, context: Context): Promise<void> {
  const { identity } = await context.settings()
  if (identity === 'unverified' || proof !== undefined) return
  throw new StepError('UNAUTHORIZED', `no signed ID token proves that ${login} decides this`, {
    hint: 'Approve in a job of CI that has a token for the audience of identity (docs/gates.md).',
  })
}

function hasNoGate(environment: string): StepError {
  return new StepError('INPUT_INVALID', `${environment} has no gate: nothing is to be approved`, {
    hint: `Write environments.${environment}.gate in crosscloud.yml.`,
  })
}
