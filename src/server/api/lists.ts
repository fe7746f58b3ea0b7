import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import { type ErrorCode, StepError, toStepError } from '../../core/errors.ts'
import type { Settings } from '../../settings.ts'
import { type Access, callerOf, mayView } from './access.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { Readable, Reader } from './reader.ts'

export interface ReadDependencies extends ApiDependencies {
  reader: Reader
}

/** Environments that the caller may view; an application without any is not there. */
export function visible(
  request: FastifyRequest,
  { app, environments }: Settings,
  access: Pick<Access, 'decide'>,
): string[] {
  const names = Object.keys(environments)
  return names.filter((name) => mayView(request, app, name, access))
}

/** In the place of an application that cannot be read: why, and nothing of it. */
interface Unread {
  app: string
  environments: string[]
  problem: { code: ErrorCode }
}

interface Seen {
  read: Readable
  /** Those that the caller may view, one at least. */
  environments: string[]
}

const PATIENCE = 10_000

/**
 * What there is of each application that the caller may view. The policy is asked before anything is
 * opened; one that is broken or slow neither hides nor delays the others.
 */
export function openList(dependencies: ReadDependencies) {
  const { applications, reader, sees, log, secrets, patience = PATIENCE } = dependencies
  const look = async <T>(
    request: FastifyRequest,
    app: string,
    describe: (app: string, seen: Seen) => Promise<readonly T[]>,
  ) => {
    const read = await reader.open(app)
    const environments = visible(request, read.settings, dependencies)
    return environments.length === 0 ? [] : await describe(app, { read, environments })
  }
  return async <T>(
    request: FastifyRequest,
    describe: (app: string, seen: Seen) => Promise<readonly T[]>,
  ): Promise<(T | Unread)[]> => {
    const { subject } = callerOf(request)
    const names = applications.names.filter((app) => sees(subject, app))
    const all = await Promise.allSettled(
      names.map((app) => within(patience, look(request, app, describe))),
    )
    return all.flatMap((one, at): readonly (T | Unread)[] => {
      if (one.status === 'fulfilled') return one.value
      const { code, message } = toStepError(one.reason)
      const app = names[at] ?? ''
      log.warn(secrets.mask(`${app} is listed without its environments: ${message}`))
      return [{ app, environments: [], problem: { code } }]
    })
  }
}

/** What takes longer goes on, and is there for the next who asks. */
async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const over = new AbortController()
  const limit = sleep(milliseconds, undefined, { signal: over.signal, ref: false }).then(() => {
    throw new StepError('UNAVAILABLE', `it takes longer than ${milliseconds / 1000} s to open`)
  })
  try {
    return await Promise.race([work, limit])
  } finally {
    limit.catch(() => {})
    over.abort()
  }
}
