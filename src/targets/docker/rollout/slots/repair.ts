import { type Action, type Finding, type Found, only, type Role, roles } from '../roles.ts'

/**
 * What a deployer that was killed left behind in the two slots of a host, and how to repair it. Old
 * and new container have ports of their own, so whatever must serve is started and healthy before
 * anything is stopped. Undefined when all is well. See `decide` for containers without slots.
 */
export function decideInSlots(found: Found<{ running: boolean }>): Finding | undefined {
  const { current, next, previous, older } = found
  const old = previous ? 'previous' : older ? 'older' : undefined
  if (current) return decideBesideCurrent(found)
  if (next && previous && (previous.running || !next.running)) {
    return {
      text: 'a deployment was cut off after its new container was verified',
      outcome: 'it is finished now',
      actions: [
        ...serve('next', next),
        { do: 'rename', container: 'next', to: 'current' },
        ...only(previous.running, { do: 'stop', container: 'previous' }),
        ...only(older, { do: 'remove', container: 'older' }),
      ],
    }
  }
  if (old) {
    return {
      text: 'the container that should serve is missing',
      outcome: 'the one before it is put back',
      actions: [
        ...serve(old, found[old]),
        { do: 'rename', container: old, to: 'current' },
        ...remove(next),
        ...only(previous && older?.running, { do: 'stop', container: 'older' }),
        ...only(older && previous, { do: 'rename', container: 'older', to: 'previous' }),
      ],
    }
  }
  if (!next) return undefined
  return {
    text: 'a first deployment was cut off before its container was verified',
    actions: [{ do: 'remove', container: 'next' }],
  }
}

function decideBesideCurrent(found: Found<{ running: boolean }>): Finding | undefined {
  const { current, next, previous, older } = found
  const isDoubled = current?.running && previous?.running
  if (!next && !older && !isDoubled) return undefined
  const tidy = [
    ...only(previous?.running, { do: 'stop', container: 'previous' }),
    ...only(!previous && older?.running, { do: 'stop', container: 'older' }),
    ...only(older && previous, { do: 'remove', container: 'older' }),
    ...only(older && !previous, { do: 'rename', container: 'older', to: 'previous' }),
  ]
  if (next) {
    return {
      text: 'a deployment was cut off before its new container had taken over',
      outcome: 'the old one stays',
      actions: [
        ...serve('current', current),
        // It may have been started a moment ago, while the new one serves.
        ...only(current?.running && next.running, { do: 'await', container: 'current' }),
        ...remove(next),
        ...tidy,
      ],
    }
  }
  return {
    text: `a deployment was cut off before ${isDoubled ? 'the old container was stopped' : 'it had tidied up'}`,
    ...(isDoubled && { outcome: 'it is stopped now' }),
    actions: [...serve('current', current), ...tidy],
  }
}

/**
 * The actions that make the old container serve again, from wherever the rollout stopped. Where it
 * must be started first, the new one stays until it is healthy; `decideInSlots` does the rest.
 */
export function restoreInSlots(
  found: Found<{ id: string; running: boolean }>,
  newId: string,
  old: { id: string; running: boolean } | undefined,
): Action[] {
  const roleOf = (id: string | undefined) => roles.find((role) => id && found[role]?.id === id)
  const [fresh, kept] = [roleOf(newId), roleOf(old?.id)]
  const mustStart = kept && old?.running && !found[kept]?.running
  const actions: Action[] = []
  if (fresh === 'current') actions.push({ do: 'rename', container: 'current', to: 'next' })
  if (kept && kept !== 'current') actions.push({ do: 'rename', container: kept, to: 'current' })
  if (mustStart) actions.push({ do: 'start', container: 'current' })
  if (found.older && kept !== 'older' && (!found.previous || kept === 'previous')) {
    actions.push({ do: 'rename', container: 'older', to: 'previous' })
  }
  if (fresh && !mustStart) actions.push(...remove(found[fresh]))
  return actions
}

function serve(role: Role, container: { running: boolean } | undefined): Action[] {
  if (container?.running) return []
  return [
    { do: 'start', container: role },
    { do: 'await', container: role },
  ]
}

function remove(next: { running: boolean } | undefined): Action[] {
  return [
    ...only(next?.running, { do: 'stop', container: 'next' }),
    ...only(next, { do: 'remove', container: 'next' }),
  ]
}
