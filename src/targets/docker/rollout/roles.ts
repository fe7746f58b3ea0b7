/**
 * The containers of one application on one host. `current` is called `<name>`; the others carry
 * their role behind a dot. `older` exists only while a rollout runs: the `previous` of before.
 */
export const roles = ['current', 'next', 'previous', 'older'] as const
export type Role = (typeof roles)[number]
export type Found<Facts> = Partial<Record<Role, Facts>>

/** `await`: until it is healthy. */
export type Action =
  | { do: 'start' | 'await' | 'stop' | 'remove'; container: Role }
  | { do: 'rename'; container: Role; to: Role }

export interface Finding {
  /** What happened. */
  text: string
  /** What the repair makes of it, for the log. */
  outcome?: string
  actions: Action[]
}

export function nameOf(name: string, role: Role): string {
  return role === 'current' ? name : `${name}.${role}`
}

/** The action, where the condition holds. */
export function only(condition: unknown, action: Action): Action[] {
  return condition ? [action] : []
}
