import type { Policy } from '../../policy/compile.ts'
import type { PolicySettings } from '../../policy/settings.ts'
import { environmentTable, roleTable } from '../../policy/tables.ts'
import type { CommandResult } from '../command.ts'
import { table } from '../output.ts'

/** `policy table`: role × verb, and verb × environment with who may. */
export function showTables(policy: Policy, settings: PolicySettings): CommandResult {
  const roles = roleTable(settings)
  const places = environmentTable(policy)
  const text = [roles, places].map(({ headings, rows }) => table(headings, rows)).join('\n\n')
  return { json: { roles: settings.roles, environments: places.who }, text }
}
