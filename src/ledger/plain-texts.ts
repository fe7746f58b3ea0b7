import { withoutControls } from '../core/plain-text.ts'
import type { Ledger } from './ledger.ts'

/** What takes records with texts of people, platforms and other programs. */
const writers = [
  'recordRelease',
  'startDeployment',
  'endDeployment',
  'recordConfigChange',
  'recordApproval',
  'mark',
  'recordEvent',
  'lock',
] as const satisfies readonly (keyof Ledger)[]

/**
 * A ledger that keeps texts without control characters, but for line feeds and tabs: who reads them
 * later may print them. What is in lists, as the values of a config change, is kept as it is.
 */
export function plainTexts(ledger: Ledger): Ledger {
  const plain = writers.map((name) => {
    const write = ledger[name].bind(ledger) as (...args: unknown[]) => unknown
    return [name, (...args: unknown[]) => write(...args.map(plainOf))] as const
  })
  return { ...ledger, ...Object.fromEntries(plain) }
}

function plainOf(value: unknown): unknown {
  if (typeof value === 'string') return withoutControls(value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const fields = Object.entries(value).map(([name, field]) => [
    name,
    typeof field === 'string' ? withoutControls(field) : field,
  ])
  return Object.fromEntries(fields)
}
