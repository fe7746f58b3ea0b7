/** What a project on GitLab is set up with. */
export const kinds = [
  'environment',
  'protected environment',
  'variable',
  'protected branch',
  'protected tag',
  'webhook',
  'resource group',
] as const
export type Kind = (typeof kinds)[number]

export type Value = string | number | boolean | null | readonly Value[] | { [name: string]: Value }

/** One resource, as it is wanted or as it is. */
export interface Resource {
  kind: Kind
  /** Unique among its kind, as people call it. */
  name: string
  /** What is compared. */
  fields: Record<string, Value>
  /** What GitLab never gives back: set when it is made, and when asked. Never shown. */
  hidden?: Record<string, string>
}

export interface ActualResource extends Resource {
  /** What GitLab calls it by. */
  id: string | number
  /** Of the parts of a protected environment, which are changed one by one. */
  hiddenIds?: { deployerIds: number[]; approvalIds: number[] }
}

export const keyOf = ({ kind, name }: Pick<Resource, 'kind' | 'name'>): string => `${kind} ${name}`

/** A variable may be there once for each environment. */
export const variableName = (key: string, scope: string): string =>
  scope === '*' ? key : `${key} for ${scope}`

/** Fields whose values are shown to nobody. */
export const secretFields = new Set(['value'])
