import { StepError } from '../../core/errors.ts'
import { isOfScan } from '../../core/scanner.ts'
import type { Ledger, Mark } from '../../ledger/ledger.ts'
import { formatRelease } from '../release-name.ts'
import type { DeploymentRequest } from './request.ts'

/** Refuses a release that is known to be bad, unless forced; a scan's mark cannot be forced. */
export async function refuseBad(
  { release, environment, force, breakGlass, reason }: DeploymentRequest,
  ledger: Ledger,
): Promise<void> {
  const name = formatRelease(release)
  const mark = await ledger.findMark(release.app, environment.name, release.version)
  if (!mark?.bad || (force && reason && !breakGlass && !isOfScan(mark))) return
  throw new StepError(
    'GATE_CLOSED',
    `${name} is known to be bad in ${environment.name}: ${mark.by} said so at ${mark.at}: ${mark.reason}`,
    { hint: wayOut(mark, name, { force, breakGlass }) },
  )
}

function wayOut(
  mark: Mark,
  name: string,
  { force, breakGlass }: Pick<DeploymentRequest, 'force' | 'breakGlass'>,
): string {
  if (isOfScan(mark)) {
    return `Deploy another release: \`--force\` does not pass a scan. To answer for this one: \`crosscloud mark ${name} --env ${mark.environment} --good --reason "…"\`.`
  }
  if (breakGlass) {
    return '`--break-glass` does not deploy a release that is marked bad: take another one, or have the mark taken back.'
  }
  if (force) return 'Say why it should run there all the same, with `--reason`.'
  return 'Deploy another release, or this one with `--force` and `--reason`.'
}
