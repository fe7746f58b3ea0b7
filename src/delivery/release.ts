import { StepError } from '../core/errors.ts'
import type { Deployment, Ledger, Release } from '../ledger/ledger.ts'
import type { Context } from './context.ts'
import { formatRelease, type ReleaseName, requireApplication } from './release-name.ts'

/** A release of the ledger; NOT_FOUND lists the newest. */
export async function findRelease({ app, version }: ReleaseName, ledger: Ledger): Promise<Release> {
  const found = await ledger.findRelease(app, version)
  if (found) return found
  const name = formatRelease({ app, version })
  const known = (await ledger.releases(app, 5)).map(formatRelease).join(', ')
  throw new StepError('NOT_FOUND', `release ${name} is not in the ledger ${ledger.name}`, {
    hint: known ? `The newest are ${known}.` : 'Run `crosscloud push-image` first.',
  })
}

/** A release of the application of crosscloud.yml. */
export async function findOwnRelease(name: ReleaseName, context: Context): Promise<Release> {
  requireApplication(formatRelease(name), name.app, await context.settings())
  return findRelease(name, await context.ledger())
}

/** What runs in an environment. */
export async function findCurrent(
  app: string,
  environment: string,
  ledger: Ledger,
): Promise<Deployment> {
  const current = await ledger.currentDeployment(app, environment)
  if (current) return current
  throw new StepError('NOT_FOUND', `nothing of ${app} was deployed to ${environment} yet`, {
    hint: `Run \`crosscloud deploy --release ${app}@VERSION --env ${environment}\` first.`,
  })
}
