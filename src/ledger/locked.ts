import { StepError } from '../core/errors.ts'
import type { Lock } from './ledger.ts'

/** Why nobody else can take a lock that is held. */
export function isLocked({
  app,
  environment,
  owner,
  reason,
  expiresAt,
}: Pick<Lock, 'app' | 'environment' | 'owner' | 'reason' | 'expiresAt'>): StepError {
  return new StepError(
    'CONFLICT',
    `${app} in ${environment} is locked by ${owner} (${reason}) until ${expiresAt}`,
    { hint: `Wait until ${owner} is done, or unlock it if that run is gone.` },
  )
}
