import { oneLine } from './facts.ts'
import { isListed, mayBeSamePerson, oneOf, type Person, personIn, personOf } from './people.ts'
import type { GateSettings } from './settings.ts'

/** A deployment that went past the gate, and that no second person has signed off. Times are ISO 8601. */
export interface UnsignedFact {
  deployment: string
  by: string
  reason: string
  at: string
  /** Until when somebody must sign it off. */
  due: string
}

/** Whether somebody may break the glass. Without a token no id is known: then it is the login that counts. */
export function mayBreakGlass({ 'break-glass': people }: GateSettings, person: Person): boolean {
  if (person.id !== undefined) return isListed(people, person, [])
  const login = personOf(person.login)
  return people.some((entry) => personOf(personIn(entry).login) === login)
}

/** Why somebody may not sign off what another person did past the gate; undefined when they may. */
export function signOffProblem(
  gate: GateSettings,
  broke: Person,
  { groups, ...person }: Person & { groups: readonly string[] },
): string | undefined {
  if (mayBeSamePerson(person, broke) || isPinned(gate, broke, person))
    return `${person.login} did it, and a second person must look at it`
  const { approvers, 'break-glass': people } = gate
  if (approvers === undefined || isListed([...people, ...approvers], person, groups))
    return undefined
  return `${person.login} is neither an approver nor one who may break the glass`
}

/** Whether the list has that id beside a login without a token. */
function isPinned({ 'break-glass': people }: GateSettings, { login }: Person, { id }: Person) {
  if (id === undefined) return false
  return people
    .map(personIn)
    .some((listed) => listed.id === id && personOf(listed.login) === personOf(login))
}

/** `ops-li, ops-wang or group:team/ops`. */
export function describeSigners({ approvers, 'break-glass': people }: GateSettings): string {
  if (approvers === undefined) return 'anybody else'
  return oneOf([...new Set([...people, ...approvers])])
}

/** Whoever went past the gate, and is not looked after in time, keeps it closed. */
export function unsignedProblems(facts: {
  environment: string
  now: Date
  unsigned?: readonly UnsignedFact[] | undefined
}): string[] {
  const { environment, now, unsigned = [] } = facts
  // Written so that a time which cannot be read keeps the gate closed.
  const overdue = unsigned.filter(({ due }) => !(now.getTime() < Date.parse(due)))
  return overdue.map(
    ({ deployment, by, reason, due }) =>
      `${by} went past the gate of ${environment} with ${deployment} (${oneLine(reason)}), and nobody signed it off until ${due}: ${signOffCommand(deployment, environment)}`,
  )
}

export function signOffCommand(deployment: string, environment: string): string {
  return `\`crosscloud sign-off ${deployment} --env ${environment} --reason …\``
}
