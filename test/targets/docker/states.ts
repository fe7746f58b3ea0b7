import type { Found, Role } from '../../../src/targets/docker/rollout/roles.ts'

export interface Fake {
  id: string
  running: boolean
}

/** `current:up next:down` → what is there. */
export function state(text: string): Found<Fake> {
  const found: Found<Fake> = {}
  for (const word of text.split(' ').filter(Boolean)) {
    const [role, how] = word.split(':')
    found[role as Role] = { id: role ?? '', running: how === 'up' }
  }
  return found
}

/** `current=old=up` → which container has the name, and whether it runs. */
export function now(text: string): Found<Fake> {
  const found: Found<Fake> = {}
  for (const word of text.split(' ')) {
    const [role, id, how] = word.split('=')
    found[role as Role] = { id: id ?? '', running: how === 'up' }
  }
  return found
}
