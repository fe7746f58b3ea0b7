import { z } from 'zod'
import { waitingTime } from '../../core/settings/schema.ts'
import { suggest } from '../../core/settings/suggest.ts'

/** What an argument may name: `{{host}}`. */
export const placeholders = ['host', 'slot', 'name', 'address', 'port', 'weight'] as const
export type Placeholder = (typeof placeholders)[number]

const PLACEHOLDER = /\{\{\s*([^{}]*?)\s*\}\}/g

/** An argument with its placeholders filled in; the result is one argument, whatever is in it. */
export function fillIn(text: string, values: Readonly<Record<Placeholder, string>>): string {
  return text.replace(PLACEHOLDER, (_match, name: Placeholder) => values[name])
}

const argument = z.string().superRefine((text, check) => {
  for (const [, name = ''] of text.matchAll(PLACEHOLDER)) {
    if (placeholders.some((known) => known === name)) continue
    const meant = suggest(name, placeholders)
    const known = placeholders.filter((each) => each !== meant).join(', ')
    const message = meant ? `did you mean {{${meant}}}?` : `known: ${known}`
    check.addIssue({
      code: 'custom',
      message: `has {{${name}}}, which is no placeholder; ${message}`,
    })
  }
})

const command = z.tuple([argument.min(1)], argument)

/** `proxy.commands:` programs with their arguments, an element each; no shell reads them. */
export const commandSettings = z.strictObject({
  'take-out': command.describe(
    'Sends a server no new requests: a program and its arguments, with {{host}}, {{slot}}, {{name}}, {{address}}, {{port}}',
  ),
  'put-in': command.describe('Sends it requests again'),
  check: command.describe('Exits with 0 when it gets requests, with 1 when it does not'),
  drained: command
    .optional()
    .describe(
      'Exits with 0 when it has no requests left, with 1 while it has; default: drain is waited for',
    ),
  weight: command.optional().describe('Gives it {{weight}} percent of the ordinary requests'),
  timeout: waitingTime.default(30_000).describe('How long one of them may take'),
})

export type CommandsSettings = z.output<typeof commandSettings>
