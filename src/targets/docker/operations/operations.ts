import type {
  ExecOptions,
  HostCheck,
  HostImage,
  InstanceStats,
  LogLine,
  LogQuery,
} from '../../target.ts'
import { checkHost, type Expected } from './check.ts'
import { exec } from './exec.ts'
import { listImages, removeImage } from './images.ts'
import { readLog } from './log.ts'
import type { Operating } from './operating.ts'
import { readStats } from './stats.ts'
import { threadDump } from './thread-dump.ts'
import { readVariables } from './variables.ts'

/** What people look at on a host, and do there by hand; see targets/operations.ts. */
export interface HostOperations {
  readLog(id: string, query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>
  stats(id: string): Promise<InstanceStats>
  exec(id: string, command: readonly string[], options: ExecOptions): Promise<number>
  threadDump(id: string, signal: AbortSignal): Promise<string[]>
  variables(id: string): Promise<Record<string, string>>
  images(): Promise<HostImage[]>
  removeImage(reference: string): Promise<void>
  check(expected: Expected): Promise<HostCheck>
}

export function hostOperations(operating: Operating): HostOperations {
  return {
    readLog: (id, query, signal) => readLog(operating, id, query, signal),
    stats: (id) => readStats(operating, id),
    exec: (id, command, options) => exec(operating, id, command, options),
    threadDump: (id, signal) => threadDump(operating, id, signal),
    variables: (id) => readVariables(operating, id),
    images: () => listImages(operating),
    removeImage: (reference) => removeImage(operating, reference),
    check: (expected) => checkHost(operating, expected),
  }
}
