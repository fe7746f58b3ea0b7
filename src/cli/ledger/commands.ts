import type { Command } from 'commander'
import type { Perform } from '../command.ts'
import { addAdmin } from './admin.ts'
import { addDiff } from './diff.ts'
import { addExplain } from './explain.ts'
import { addHistory } from './history.ts'
import { addReleases } from './releases.ts'
import { addReport } from './report.ts'
import { addShow } from './show.ts'
import { addStatus } from './status.ts'

/** Commands that read the ledger, and those that look after it. */
export function addLedgerCommands(program: Command, perform: Perform): void {
  addStatus(program, perform)
  addHistory(program, perform)
  addReleases(program, perform)
  addShow(program, perform)
  addExplain(program, perform)
  addDiff(program, perform)
  addReport(program, perform)
  addAdmin(program, perform)
}
