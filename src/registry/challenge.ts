export interface Challenge {
  /** lower case */
  scheme: string
  /** Names in lower case. */
  parameters: Record<string, string>
}

/** The strongest challenge that can be met. */
export function chooseChallenge(header: string | string[] | undefined): Challenge | undefined {
  const challenges = parseChallenges(header)
  return (
    challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.realm) ??
    challenges.find(({ scheme }) => scheme === 'basic')
  )
}

/** RFC 9110, section 11.6.1: one header may hold several challenges, and so may several headers. */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
  const text = Array.isArray(header) ? header.join(', ') : (header ?? '')
  const name = /[\s,]*([!#$%&'*+.^_`|~\w-]+)/y
  const value = /\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/y
  const challenges: Challenge[] = []
  for (let found = name.exec(text); found; found = name.exec(text)) {
    value.lastIndex = name.lastIndex
    const given = value.exec(text)
    const word = (found[1] ?? '').toLowerCase()
    const last = challenges.at(-1)
    if (!given) {
      challenges.push({ scheme: word, parameters: {} })
      continue
    }
    name.lastIndex = value.lastIndex
    if (last) last.parameters[word] = given[1]?.replace(/\\(.)/g, '$1') ?? given[2] ?? ''
  }
  return challenges
}
