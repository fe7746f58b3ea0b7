import { isStepError, StepError } from '../../../core/errors.ts'
import { readLog } from './log.ts'
import type { Operating } from './operating.ts'
import { firstProcess, isJava } from './processes.ts'

/** milliseconds */
const LONGEST = 20_000
/** A dump that is followed by nothing for so long is whole. */
const QUIET = 700

const FIRST_LINE = /^Full thread dump /
/** After it come the heap's figures, if any. */
const LAST_PART = /^JNI global ref/

/**
 * A Java virtual machine prints its threads on SIGQUIT. To any other process that signal means the
 * end, so the first process must be one; and with -Xrs a machine does not listen.
 */
export async function threadDump(
  operating: Operating,
  id: string,
  signal: AbortSignal,
): Promise<string[]> {
  const { docker, call } = operating
  await requireJava(operating, id)
  const last = await lastTime(operating, id, signal)
  await call(`asking ${id.slice(0, 12)} for its threads`, (abortSignal) =>
    docker.getContainer(id).kill({ signal: 'SIGQUIT', abortSignal } as object),
  )
  const dump = await collect(operating, id, last, signal)
  if (dump.length > 0) return dump
  throw new StepError(
    'UNAVAILABLE',
    `host ${operating.host.name}: ${id.slice(0, 12)} printed no thread dump within ${LONGEST / 1000} s`,
    {
      hint: `See \`crosscloud instances logs --env ${operating.environment}\`: it may have come late, or go to another file.`,
    },
  )
}

async function requireJava(operating: Operating, id: string): Promise<void> {
  const { environment } = operating
  const line = await firstProcess(operating, id)
  const where = `host ${operating.host.name}: ${id.slice(0, 12)}`
  if (line === undefined) {
    throw new StepError('CONFLICT', `${where} does not run`, {
      hint: `Only a running instance has threads: see \`crosscloud instances list --env ${environment}\`.`,
    })
  }
  if (!isJava(line)) {
    const [program] = line.split(' ', 1)
    throw new StepError('CONFLICT', `${where}: its first process is ${program}, not java`, {
      hint: `Let the start script end with \`exec\`, as catalina.sh does; or run jcmd there: \`crosscloud instances exec --env ${environment} -- jcmd 0 Thread.print\`.`,
    })
  }
  if (!/ -Xrs( |$)/.test(line)) return
  throw new StepError('CONFLICT', `${where} was started with -Xrs: its JVM hears no SIGQUIT`, {
    hint: 'Leave -Xrs out: with it a stop is not graceful either.',
  })
}

async function lastTime(operating: Operating, id: string, signal: AbortSignal) {
  for await (const { at } of readLog(operating, id, { lines: 1 }, signal)) return at
  return undefined
}

/** The lines from the dump's first on, until nothing comes after its last part. */
async function collect(
  operating: Operating,
  id: string,
  since: string | undefined,
  signal: AbortSignal,
): Promise<string[]> {
  const enough = new AbortController()
  const stop = () => enough.abort()
  const timer = setTimeout(stop, LONGEST)
  let quiet: NodeJS.Timeout | undefined
  const dump: string[] = []
  try {
    const ended = AbortSignal.any([signal, enough.signal])
    for await (const { at, text } of readLog(operating, id, { since, follow: true }, ended)) {
      if (since !== undefined && at <= since) continue
      if (dump.length === 0 && !FIRST_LINE.test(text)) continue
      dump.push(text)
      if (LAST_PART.test(text)) quiet = setTimeout(stop, QUIET)
      else quiet?.refresh()
    }
  } catch (error) {
    if (!enough.signal.aborted || !isStepError(error, 'CANCELLED')) throw error
  } finally {
    clearTimeout(timer)
    clearTimeout(quiet)
  }
  return dump
}
