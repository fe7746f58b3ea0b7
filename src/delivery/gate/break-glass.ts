import { StepError, toStepError } from '../../core/errors.ts'
import { oneLine } from '../../gate/approvals.ts'
import {
  describeSigners,
  mayBreakGlass,
  signOffCommand,
  signOffProblem,
} from '../../gate/break-glass.ts'
import { oneOf } from '../../gate/people.ts'
import type { Who } from '../../identity/who.ts'
import type { BreakGlass, Deployment, Ledger, SignOff, Unsigned } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { isJob } from '../actor.ts'
import type { Context } from '../context.ts'
import { identifyDeployer } from './gate.ts'

/** Who changes an environment; who goes past its gate must be one that the settings name. */
export function identifyActing(
  act: { environment: EnvironmentSettings; reason: string; breakGlass?: boolean | undefined },
  context: Context,
): Promise<Who> {
  const { environment, reason, breakGlass } = act
  if (breakGlass) return identifyBreaker(environment, reason, context)
  return identifyDeployer(environment, context).catch((error: unknown) => {
    // Not everything can be done so.
    throw breakGlass === undefined ? error : withBreakGlass(error, environment)
  })
}

/** Where nobody can be known, the night's way is told to those who may go it. */
function withBreakGlass(error: unknown, { gate }: EnvironmentSettings): unknown {
  const people = gate?.['break-glass'] ?? []
  const { code, message, hint = '', retryable } = toStepError(error)
  if (people.length === 0 || !['UNAVAILABLE', 'UNAUTHORIZED'].includes(code)) return error
  const way = `While GitLab is down, ${oneOf(people)} may add \`--break-glass\` at a terminal (docs/gates.md).`
  return new StepError(code, message, { hint: `${hint} ${way}`.trim(), retryable, cause: error })
}

/**
 * Who goes past a gate because there is no other way: by a signed token where there is one, else in
 * person, at a terminal, by the name of the account. In a job any name could be set.
 */
async function identifyBreaker(
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

/** Each deployment into that environment says what went past its gate and is not signed off. */
export async function warnOfUnsigned(
  app: string,
  environment: string,
  context: Context,
  only?: string,
): Promise<void> {
  const unsigned = await (await context.ledger()).unsigned({ app, environment })
  for (const one of unsigned) {
    if (only === undefined || one.deployment === only) context.log.warn(unsignedLine(one))
  }
}

/** What went past a gate, for everybody to see. */
export function unsignedLine({ app, environment, deployment, by, reason, due }: Unsigned): string {
  const late =
    Date.now() < Date.parse(due) ? 'must sign it off until' : 'should have signed it off by'
  const command = signOffCommand(deployment, environment)
  return `BREAK-GLASS: ${by} went past the gate of ${environment} with ${deployment} of ${app} (${oneLine(reason)}); a second person ${late} ${due}: ${command}`
}

/** A second person's word on what was done past the gate. Signed off twice, the first stays. */
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
  const fault = signOffProblem(gate, { login: breakGlass.by, id: breakGlass.byId }, who)
  if (fault !== undefined) {
    throw new StepError('GATE_CLOSED', `${id} is not signed off: ${fault}`, {
      hint: `It takes ${describeSigners(gate)}, and not ${breakGlass.by}.`,
    })
  }
  if (breakGlass.signedOff) return { deployment, signedOff: breakGlass.signedOff }
  const signedOff = await ledger.recordEvent({
    ...{ app, environment: name, action: 'sign-off', subject: deployment.id, reason },
    ...{ by: who.login, byId: who.id, identity: who.identity, jobUrl: context.actor.jobUrl },
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
