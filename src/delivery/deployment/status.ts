import type { StatusCell, StatusQuery } from '../../ledger/ledger.ts'
import type { Context } from '../context.ts'
import { findHeldLock } from './lock.ts'

/** The ledger's status as the next command here finds it: the lock of a killed deployer counts no more. */
export async function readStatus(query: StatusQuery, context: Context): Promise<StatusCell[]> {
  const cells = await (await context.ledger()).status(query)
  return Promise.all(cells.map((cell) => withoutDeadHolder(cell, context)))
}

async function withoutDeadHolder(cell: StatusCell, context: Context): Promise<StatusCell> {
  if (cell.lock === undefined || (await findHeldLock(cell, context)) !== undefined) return cell
  const { underway } = cell
  return { ...cell, lock: undefined, underway: underway && { ...underway, state: 'abandoned' } }
}
