import { StepError } from '../../core/errors.ts'
import { NAME } from '../../core/settings/schema.ts'
import { didYouMean } from '../../core/settings/suggest.ts'
import { type ClaimValue, claimTypes, isClaim } from '../../policy/claims.ts'
import type { Question } from '../../policy/decide.ts'
import { jobWith, namesProblem, type Subject, subjectNamed, WHO } from '../../policy/subject.ts'
import { isVerb, isWide, verbs } from '../../policy/verbs.ts'

/** A question as it is typed; what cannot be meant is bad input, not a refusal. */
export function readQuestion(
  verb: string,
  app: string,
  environment: string,
  source: string | undefined,
): Question {
  if (!isVerb(verb)) {
    throw invalid(
      `"${verb}" is not a verb${didYouMean(verb, verbs)}`,
      `There are ${verbs.join(', ')}.`,
    )
  }
  if (source !== undefined && verb !== 'promote') {
    throw invalid(`--source is for promote, not for ${verb}`)
  }
  for (const name of [app, environment, source ?? 'x']) {
    if (NAME.test(name) || (name === '*' && isWide(verb))) continue
    const hint = name === '*' ? `${verb} is asked for one application and environment.` : undefined
    throw invalid(`"${name}" is not the name of an application or environment`, hint)
  }
  return { verb, app, environment, source }
}

interface Asker {
  as?: readonly string[]
  claim?: readonly string[]
}

/** Who asks: all names of one person or token, or the claims of one job. */
export function readSubject({ as = [], claim = [] }: Asker): Subject {
  if (as.length > 0 && claim.length > 0) {
    throw invalid('--as is for people and tokens, --claim for jobs; give one kind')
  }
  if (claim.length > 0) return jobWith(readClaims(claim))
  if (as.length === 0) {
    throw invalid('--as is required', 'Write --as user:zhang, or for a job --claim project-id=42.')
  }
  const wrong = as.find((name) => !WHO.test(name))
  if (wrong !== undefined) {
    throw invalid(`--as ${wrong} is not who; write user:zhang, group:team/qa or token:jenkins`)
  }
  const problem = namesProblem(as)
  if (problem !== undefined) throw invalid(`--as ${problem}`)
  return subjectNamed(as)
}

function readClaims(texts: readonly string[]): Record<string, ClaimValue> {
  const claims = new Map<string, ClaimValue>()
  for (const text of texts) {
    const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? []
    if (value === '') throw invalid(`--claim ${text} is no claim; write ref-protected=true`)
    if (!isClaim(name)) {
      const known = Object.keys(claimTypes)
      throw invalid(
        `--claim ${name} is not a claim that grants name${didYouMean(name, known)}`,
        `There are ${known.join(', ')}.`,
      )
    }
    if (claims.has(name)) throw invalid(`--claim ${name} is there twice`)
    claims.set(name, typed(name, value))
  }
  return Object.fromEntries(claims)
}

function typed(name: keyof typeof claimTypes, value: string): ClaimValue {
  const type = claimTypes[name]
  if (type === 'boolean') {
    if (value === 'true' || value === 'false') return value === 'true'
    throw invalid(`--claim ${name}=${value} is neither true nor false`)
  }
  if (type === 'string') return value
  if (/^\d{1,15}$/.test(value)) return Number(value)
  throw invalid(`--claim ${name}=${value} is not a whole number`)
}

const invalid = (message: string, hint?: string) =>
  new StepError('INPUT_INVALID', message, { hint })
