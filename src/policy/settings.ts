import { didYouMean } from '../core/settings/suggest.ts'
import { compilePolicy } from './compile.ts'
import { exampleProblem } from './examples.ts'
import { type PolicySettings, policyForm } from './schema.ts'

export type { PolicySettings } from './schema.ts'

interface Problem {
  path: (string | number)[]
  message: string
}

/** `policy:` in crosscloud.server.yml: a policy that does not decide as its tests say is invalid. */
export const policySettings = policyForm
  .superRefine((policy, check) => {
    for (const { path, message } of policyProblems(policy)) {
      check.addIssue({ code: 'custom', path, message, input: policy })
    }
  })
  .describe('Who may do what, where, over HTTP; without it nobody may anything')

/** Unknown roles first: what the tests then say would only repeat it. */
function policyProblems(settings: PolicySettings): Problem[] {
  const { roles, grants, tests } = settings
  const names = Object.keys(roles)
  const unknown = grants.flatMap(({ role }, index): Problem[] => {
    if (Object.hasOwn(roles, role)) return []
    const hint = didYouMean(role, names) || `; there are ${names.join(', ') || 'none'}`
    const message = `"${role}" is not a role${hint}`
    return [{ path: ['grants', index, 'role'], message }]
  })
  if (unknown.length > 0) return unknown
  const policy = compilePolicy(settings)
  return tests.flatMap((example, index): Problem[] => {
    const message = exampleProblem(policy, example)
    return message === undefined ? [] : [{ path: ['tests', index], message }]
  })
}
