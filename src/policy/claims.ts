import { onOneLine } from '../core/plain-text.ts'

export type ClaimValue = string | number | boolean

/**
 * The claims of a job that a grant may name, and their types. Issuers write numbers and booleans as
 * texts; whoever reads a token makes values of these types of them, once.
 */
export const claimTypes = {
  issuer: 'string',
  subject: 'string',
  'project-id': 'number',
  project: 'string',
  ref: 'string',
  'ref-type': 'string',
  'ref-protected': 'boolean',
  environment: 'string',
  'environment-protected': 'boolean',
  'pipeline-source': 'string',
  user: 'string',
  'user-id': 'number',
  workflow: 'string',
} as const satisfies Readonly<Record<string, 'string' | 'number' | 'boolean'>>

export type ClaimName = keyof typeof claimTypes

/** Claims that say whose job it is: a grant names one of them, and is for others' jobs otherwise. */
export const owning: readonly ClaimName[] = ['project-id', 'project', 'subject']

export function isClaim(name: string): name is ClaimName {
  return Object.hasOwn(claimTypes, name)
}

/**
 * A value as a grant writes it: the text `"true"` is told apart from true. What a token says may be
 * anything.
 */
export function claimText(value: unknown): string {
  if (typeof value !== 'string') return quoted(value)
  const isPlain =
    /^[A-Za-z_/][\w./:@+-]{0,199}$/.test(value) && !/^(?:true|false|null)$/i.test(value)
  return isPlain ? value : quoted(value)
}

const LONGEST = 200

/** On one line, whatever somebody outside put into it. */
export function quoted(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing')
  return onOneLine(text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text)
}
