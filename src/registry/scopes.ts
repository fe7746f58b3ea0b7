import type { Repository } from './reference.ts'

/** The right to pull from, or to pull from and push to, one repository. */
export interface Scope {
  repository: string
  actions: 'pull' | 'pull,push' | 'delete'
}

export function pullScopes({ name }: Repository): Scope[] {
  return [{ repository: name, actions: 'pull' }]
}

export function deleteScopes({ name }: Repository): Scope[] {
  return [{ repository: name, actions: 'delete' }]
}

/** The right to push to `target` and to mount from `sources` in the same registry. */
export function pushScopes(target: Repository, sources: readonly Repository[] = []): Scope[] {
  const others = new Set(
    sources.filter(({ registry }) => registry === target.registry).map(({ name }) => name),
  )
  others.delete(target.name)
  return [
    { repository: target.name, actions: 'pull,push' },
    ...[...others].map((repository) => ({ repository, actions: 'pull' as const })),
  ]
}

/** Whether a token with the scopes `held` is good for what is `asked`. */
export function covers(held: readonly Scope[], asked: readonly Scope[]): boolean {
  return asked.every((scope) =>
    held.some(
      ({ repository, actions }) =>
        repository === scope.repository &&
        (actions === scope.actions || (actions === 'pull,push' && scope.actions === 'pull')),
    ),
  )
}

export function formatScope({ repository, actions }: Scope): string {
  return `repository:${repository}:${actions}`
}
