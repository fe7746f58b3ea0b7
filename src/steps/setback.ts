import type { Release } from '../ledger/ledger.ts'
import { formatRelease } from './inputs.ts'
import type { Context } from './step.ts'

/** Warns where a release that was recorded later runs already: a late approval is easily overlooked. */
export async function warnOfSetback(
  release: Release,
  environment: string,
  context: Context,
): Promise<void> {
  const { app, version } = release
  const ledger = await context.ledger()
  const [cell] = await ledger.status({ app, environment })
  const running = cell?.current
  if (running === undefined || running.version === version) return
  const later = cell?.behind ? await ledger.releases(app, cell.behind) : []
  if (later.some((one) => one.version === version)) return
  const name = formatRelease({ app, version: running.version })
  context.log.warn(
    `${name} runs there, released after ${formatRelease(release)}: this sets ${environment} back`,
  )
}
