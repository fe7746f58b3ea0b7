import { createHash, randomUUID } from 'node:crypto'

type Read = (name: string) => string | undefined

/**
 * What a job is called, the same for every process of it and no other job: a runner that starts the
 * same job again makes no second run. Undefined outside of jobs.
 */
function jobKey(read: Read): string | undefined {
  if (read('GITLAB_CI') === 'true') return join('gitlab', read('CI_SERVER_URL'), read('CI_JOB_ID'))
  if (read('GITHUB_ACTIONS') === 'true') {
    const run = [read('GITHUB_RUN_ID'), read('GITHUB_RUN_ATTEMPT')]
    // The id of the step, as one job may have several of the same.
    return join(
      'github',
      read('GITHUB_REPOSITORY'),
      ...run,
      read('GITHUB_JOB'),
      read('GITHUB_ACTION'),
    )
  }
  return undefined
}

/** Undefined when any part is missing. */
function join(...parts: (string | undefined)[]): string | undefined {
  return parts.every(Boolean) ? parts.join(' ') : undefined
}

export interface KeyFacts {
  step: string
  app: string
  inputs: Readonly<Record<string, unknown>>
}

/**
 * The Idempotency-Keys of a run, in order: the next one is for another attempt after a run that has
 * failed. What only reads is done anew each time.
 */
export function idempotencyKeys(
  read: Read,
  facts: KeyFacts,
  reads: boolean,
): (n: number) => string {
  const job = reads ? undefined : jobKey(read)
  if (job === undefined) {
    const key = randomUUID()
    return (attempt) => `${key}-${attempt}`
  }
  const inputs = Object.entries(facts.inputs).sort(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify([job, facts.step, facts.app, inputs])
  const key = createHash('sha256').update(text).digest('base64url')
  return (attempt) => `${key}-${attempt}`
}
