import { z } from 'zod'

/** Whole rules are the store's; this keeps out what could be anything but a key. */
const key = z
  .string()
  .max(1024)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
  .regex(/^(?:\/[^\x00-\x1f/]+)+$/, 'is not a key: /webapi/db/url')

const tag = z.string().regex(/^[\w-]{16,64}$/, 'is not a tag of this list')

const LONGEST_VALUE = 128 * 1024

/** One change of a key. Values are taken as they are: no space is cut off. */
export const configEdit = z
  .strictObject({
    key,
    value: z.string().max(LONGEST_VALUE).optional().describe('In clear, the new value'),
    delete: z.literal(true).optional().describe('In place of a value: the key is removed'),
    was: z
      .string()
      .max(LONGEST_VALUE)
      .nullable()
      .optional()
      .describe('The value that was seen; null: there was none. Not for secrets'),
    tag: tag.optional().describe('Of the value that was seen, in place of was'),
    secret: z.literal(true).optional().describe('Encrypt it, whatever its name'),
  })
  .refine(
    (edit) => (edit.value === undefined) !== (edit.delete === undefined),
    'needs either value or delete',
  )
  .refine((edit) => edit.was === undefined || edit.tag === undefined, 'has was and tag; give one')

const MOST_EDITS = 200

export const configEdits = z
  .array(configEdit)
  .min(1, 'is empty')
  .max(MOST_EDITS)
  .refine(
    (edits) => new Set(edits.map((edit) => edit.key)).size === edits.length,
    'has a key more than once',
  )

/** `PATCH …/config`: all changes or none. */
export const configPatch = z.strictObject({
  changes: configEdits,
  reason: z.string().trim().min(1, 'is empty; say why').max(500),
})

/** A key in `GET …/config`; a secret has no value here, only that it is one. */
export const configItem = z.object({
  key: z.string(),
  secret: z.boolean(),
  encrypted: z.boolean(),
  value: z.string().nullable().describe('null for a secret'),
  tag: z.string().describe('Of the value: another one when it changes'),
})

/** The query of `GET …/config`. */
export const configQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(200),
  cursor: z
    .string()
    .regex(/^[\w-]{1,1400}$/, 'is not one that a page had under next')
    .optional(),
  prefix: key.optional().describe('Only keys at or below this one'),
})

/** 200 of `GET …/config`; its ETag is that of the whole set. */
export const configPage = z.object({
  items: z.array(configItem),
  next: z.string().nullable(),
})

/** A change as it is shown: secrets as marks that are the same for equal values of one answer. */
export const configDifference = z.object({
  key: z.string(),
  secret: z.boolean(),
  before: z.string(),
  after: z.string(),
})

/** 200 of `PATCH …/config`, with the new ETag. */
export const configChanged = z.object({
  change: z.string().nullable().describe('In the ledger; null where nothing was to change'),
  changes: z.array(configDifference),
})

/** In a 412: a key that is not what was seen, and who changed it as far as the ledger knows. */
export const configMoved = z.object({
  key: z.string(),
  secret: z.boolean(),
  now: z.string().describe('As it is shown; absent where there is none'),
  by: z.string().nullable().describe('null: it was changed past the ledger'),
  at: z.iso.datetime().nullable(),
  reason: z.string().nullable(),
  change: z.string().nullable(),
})

export type ConfigPatch = z.output<typeof configPatch>
export type ConfigEdit = z.output<typeof configEdit>
export type ConfigItem = z.output<typeof configItem>
export type ConfigDifference = z.output<typeof configDifference>
export type ConfigPage = z.output<typeof configPage>
export type ConfigChanged = z.output<typeof configChanged>
export type ConfigMoved = z.output<typeof configMoved>
