import { z } from 'zod'
import { formatHealth, parseHealth } from '../notation.ts'
import type { HealthSettings } from './check.ts'
import { keptHealth } from './settings.ts'

/**
 * Keeps a container's health check, as the deployer that restores it may have other settings:
 * `{"http":":8080/healthz","timeout":60000}`, or `null`. Version 0.1.0 knows no other checks, and
 * reads `null` where there is one: it then sees only that the container runs.
 */
export const HEALTH_LABEL = 'io.crosscloud.health'

/** Keeps a check that the other label cannot. */
export const HEALTH_CHECK_LABEL = 'io.crosscloud.health-check'

export function healthLabels(health: HealthSettings | undefined): Record<string, string> {
  if (!health) return { [HEALTH_LABEL]: 'null' }
  if ('http' in health) {
    const { http, timeout, interval, requestTimeout, successes = 1 } = health
    const isSimple = !http.statuses && !http.headers && !http.body && successes === 1
    const simple = JSON.stringify({ http: formatHealth(http), timeout })
    if (isSimple && !interval && !requestTimeout) return { [HEALTH_LABEL]: simple }
    return {
      [HEALTH_LABEL]: isSimple ? simple : 'null',
      [HEALTH_CHECK_LABEL]: JSON.stringify(health),
    }
  }
  return { [HEALTH_LABEL]: 'null', [HEALTH_CHECK_LABEL]: JSON.stringify(health) }
}

/**
 * The health check a container was created with; `otherwise` where its labels do not say, or where a
 * person, or a version to come, has written there what is no check.
 */
export function ownHealth(
  labels: Readonly<Record<string, string>> | undefined,
  otherwise: HealthSettings | undefined,
): HealthSettings | undefined {
  const [full, simple] = [labels?.[HEALTH_CHECK_LABEL], labels?.[HEALTH_LABEL]]
  if (full === undefined && simple === undefined) return otherwise
  try {
    if (full !== undefined) return keptHealth.parse(JSON.parse(full))
    const kept = simpleHealth.parse(JSON.parse(simple ?? ''))
    return kept ? keptHealth.parse({ ...kept, http: parseHealth(kept.http) }) : undefined
  } catch {
    return otherwise
  }
}

const simpleHealth = z.strictObject({ http: z.string(), timeout: z.number() }).nullable()
