import { StepError, toStepError } from '../../core/errors.ts'
import {
  describeSigners,
  mayBreakGlass,
  signOffCommand,
  signOffProblem,
} from '../../gate/break-glass.ts'
import { oneLine } from '../../gate/facts.ts'
import { oneOf } from '../../gate/people.ts'
import type { Who } from '../../identity/who.ts'
import type { BreakGlass, Deployment, Ledger, SignOff, Unsigned } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { isJob } from '../actor.ts'
import type { Context } from '../context.ts'
import { identifyDeployer } from './gate.ts'

/** Who changes an environment; only those whom the settings name may go past its gate. */
export function identifyActor(
  act: { environment: EnvironmentSettings; reason: string; breakGlass?: boolean | undefined },
  context: Context,
): Promise<Who> {
  const { environment, reason, breakGlass } = act
  if (breakGlass) return identifyBreakGlassUser(environment, reason, context)
  return identifyDeployer(environment, context).catch((error: unknown) => {
    // Undefined for what has no break-glass.
    throw breakGlass === undefined ? error : withBreakGlass(error, environment)
  })
}

/** When the identity provider is down, the hint names `--break-glass` to those who may use it. */
function withBreakGlass(error: unknown, { gate }: EnvironmentSettings): unknown {
  const people = gate?.['break-glass'] ?? []
  const { code, message, hint = '', retryable } = toStepError(error)
  if (people.length === 0 || !['UNAVAILABLE', 'UNAUTHORIZED', 'FORBIDDEN'].includes(code)) {
    return error
  }
  const way = `While GitLab is down, ${oneOf(people)} may add \`--break-glass\` at a terminal (docs/gates.md).`
  return new StepError(code, message, { hint: `${hint} ${way}`.trim(), retryable, cause: error })
}

/**
 * Identifies who goes past a gate: by a signed token where there is one, else at a terminal by the
 * name of the account. In a job any name could be set.
 */
async function identifyBreakGlassUser(
  { name, gate }: EnvironmentSettings,
  reason: string,
  context: Context,
): Promise<Who> {
  const { file } = await context.settings()
  if (gate === undefined) {
    throw new StepError('INPUT_INVALID', `${name} has no gate to go past`, {
      hint: 'Leave `--break-glass` out.',
    })
  }
  if (reason === '') {
    throw new StepError('INPUT_INVALID', '`--break-glass` needs a reason', {
      hint: 'Say why with `--reason`: whoever signs it off reads it.',
    })
  }
  const who = await context.identify(name, { required: true, strict: true, tokenless: true })
  if (who.identity === 'unverified' && isJob(context.variable)) {
    throw new StepError(
      'UNAUTHORIZED',
      `no signed ID token says who goes past the gate of ${name}`,
      {
        hint: 'A job may say any name: let it have a token, or do it at a terminal of a machine that reaches the hosts.',
      },
    )
  }
  if (mayBreakGlass(gate, who)) return who
  const people = gate['break-glass']
  throw new StepError('GATE_CLOSED', `${who.login} may not go past the gate of ${name}`, {
    hint:
      people.length === 0
        ? `Nobody may: environments.${name}.gate.break-glass in ${file} names who.`
        : `${oneOf(people)} may. Without a token the name is GITLAB_USER_LOGIN, else that of this machine's account.`,
  })
}

/** Every deployment to an environment warns of what went past its gate and is not signed off. */
export async function warnOfUnsigned(
  app: string,
  environment: string,
  context: Context,
  only?: string,
): Promise<void> {
  const unsigned = await (await context.ledger()).unsigned({ app, environment })
  for (const act of unsigned) {
    if (only === undefined || act.deployment === only) context.log.warn(unsignedLine(act))
  }
}

/** What went past a gate, for everybody to see. */
export function unsignedLine({ app, environment, deployment, by, reason, due }: Unsigned): string {
  const late =
    Date.now() < Date.parse(due) ? 'must sign it off until' : 'should have signed it off by'
  const command = signOffCommand(deployment, environment)
  return `BREAK-GLASS: ${by} went past the gate of ${environment} with ${deployment} of ${app} (${oneLine(reason)}); a second person ${late} ${due}: ${command}`
}

/** A second person's sign-off of what was done past the gate. Of two sign-offs the first stays. */
export async function signOff(
  id: string,
  environment: EnvironmentSettings,
  reason: string,
  context: Context,
): Promise<{ deployment: Deployment; signedOff: SignOff }> {
  const ledger = await context.ledger()
  const { app } = await context.settings()
  const { name, gate } = environment
  const deployment = await findBroken(id, app, name, ledger)
  const { breakGlass } = deployment
  const who = await context.identify(name, { required: true, strict: true })
  if (gate === undefined) throw hasNoGate(name)
  const problem = signOffProblem(gate, { login: breakGlass.by, id: breakGlass.byId }, who)
  if (problem !== undefined) {
    throw new StepError('GATE_CLOSED', `${id} is not signed off: ${problem}`, {
      hint: `It takes ${describeSigners(gate)}, and not ${breakGlass.by}.`,
    })
  }
  if (breakGlass.signedOff) return { deployment, signedOff: breakGlass.signedOff }
  const signedOff = await ledger.recordEvent({
    app,
    environment: name,
    action: 'sign-off',
    subject: deployment.id,
    reason,
    by: who.login,
    byId: who.id,
    identity: who.identity,
    jobUrl: context.actor.jobUrl,
  })
  return { deployment, signedOff }
}

type Broken = Deployment & { breakGlass: BreakGlass }

async function findBroken(
  id: string,
  app: string,
  environment: string,
  ledger: Ledger,
): Promise<Broken> {
  const found = await ledger.findDeployment(id)
  if (found?.app !== app || found.environment !== environment) {
    throw new StepError('NOT_FOUND', `there is no deployment ${id} of ${app} in ${environment}`, {
      hint: '`crosscloud status` shows what is to be signed off.',
    })
  }
  if (isBroken(found)) return found
  throw new StepError('INPUT_INVALID', `${id} did not go past the gate of ${environment}`, {
    hint: 'There is nothing to sign off. `crosscloud status` shows what is.',
  })
}

const isBroken = (deployment: Deployment): deployment is Broken =>
  deployment.breakGlass !== undefined

function hasNoGate(environment: string): StepError {
  return new StepError('INPUT_INVALID', `${environment} has no gate: nobody may sign off there`, {
    hint: `Write environments.${environment}.gate in crosscloud.yml.`,
  })
}
