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

/** A value as a grant writes it: the text `"true"` is told apart from true. */
export function claimText(value: ClaimValue): string {
  if (typeof value !== 'string') return String(value)
  const text = value.length > 200 ? `${value.slice(0, 200)}…` : value
  const plain = /^[A-Za-z_/][\w./:@+-]*$/.test(text) && !/^(?:true|false|null)$/i.test(text)
  return onOneLine(plain ? text : JSON.stringify(text))
}
