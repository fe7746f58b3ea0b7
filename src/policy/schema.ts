import { z } from 'zod'
import { NAME, objectName } from '../core/settings/schema.ts'
import { didYouMean } from '../core/settings/suggest.ts'
import { type ClaimName, type claimTypes, owning } from './claims.ts'
import { namesProblem, WHO } from './subject.ts'
import { verbs } from './verbs.ts'

const verb = z.enum(verbs, {
  error: ({ input }) =>
    typeof input === 'string'
      ? `is not a verb${didYouMean(input, verbs) || `; there are ${verbs.join(', ')}`}`
      : 'is not a verb; write its name',
})

const who = z
  .string()
  .regex(WHO, 'is not who; write user:zhang, user:zhang#42, group:team/qa or token:jenkins, whole')

/** Names, or `*` alone: no pattern, so that nobody has to think about what it crosses. */
const namesOrAll = (example: string) =>
  z
    .array(
      z
        .string()
        .refine(
          (text) => text === '*' || NAME.test(text),
          `is neither a name nor *; write ${example}, whole: patterns do not exist`,
        ),
    )
    .min(1, "names none; write ['*'] for all")
    .refine(
      (names) => names.length === 1 || !names.includes('*'),
      "has * beside names; write ['*'] alone, or the names",
    )

const text = z
  .string()
  .min(1, 'must not be empty')
  .refine((value) => !value.includes('*'), 'has *; claims are compared whole: leave it out')
const number = z.int('is not a whole number')

type ValueOf<Name extends ClaimName> = {
  string: string
  number: number
  boolean: boolean
}[(typeof claimTypes)[Name]]

const claims = z.strictObject({
  issuer: text
    .optional()
    .describe('Who signed the token; needed where several issuers are trusted'),
  subject: text.optional().describe("The token's sub, for issuers that know no projects: Jenkins"),
  'project-id': number
    .optional()
    .describe('Id of the project or repository, which no renaming touches'),
  project: text.optional().describe('Its path: group/project, owner/repository'),
  ref: text.optional().describe('Branch or tag, whole'),
  'ref-type': text.optional().describe('branch or tag'),
  'ref-protected': z.boolean().optional().describe('Whether the branch or tag is protected'),
  environment: text.optional().describe('The environment that the job names'),
  'environment-protected': z
    .boolean()
    .optional()
    .describe('Whether that is a protected environment of GitLab'),
  'pipeline-source': text.optional().describe('What started the pipeline: push, web, schedule'),
  user: text.optional().describe('Login of who started the job'),
  'user-id': number.optional().describe('Id of that account'),
  workflow: text.optional().describe("GitHub's job_workflow_ref: the workflow's file and its ref"),
} satisfies { [Name in ClaimName]: z.ZodType<ValueOf<Name> | undefined> })

const grant = z
  .strictObject({
    who: who
      .optional()
      .describe('A person, group or API token, whole: user:zhang, group:team/qa, token:jenkins'),
    job: claims
      .refine(
        (named) => owning.some((name) => named[name] !== undefined),
        `names no project, so that any job would do; write ${owning.join(', ')}`,
      )
      .optional()
      .describe('In place of who: what the ID token of a job must say, every claim of it'),
    role: z.string().describe('Name of a role'),
    apps: namesOrAll('webapi').describe("Applications, or ['*']"),
    envs: namesOrAll('production').describe("Environments, or ['*']"),
  })
  .check(({ value, issues }) => eitherOf(value, ['who', 'job'], issues))

const example = z
  .strictObject({
    as: z
      .array(who)
      .min(1, 'names nobody')
      .check(({ value, issues }) => {
        const message = namesProblem(value)
        if (message !== undefined) issues.push({ code: 'custom', input: value, message })
      })
      .optional()
      .describe('All names of one person, or one token: [user:zhang, group:team/qa]'),
    job: claims.optional().describe('In place of as: all claims of a job that count'),
    can: verb.optional().describe('What must be allowed'),
    cannot: verb.optional().describe('In place of can: what must be refused'),
    app: objectName.describe('Of which application'),
    env: objectName.describe('In which environment'),
    source: objectName
      .optional()
      .describe('Of promote: the environment it comes from; default: any other one'),
  })
  .check(({ value, issues }) => {
    eitherOf(value, ['as', 'job'], issues)
    eitherOf(value, ['can', 'cannot'], issues)
  })

function eitherOf<T extends object>(
  value: T,
  [first, second]: readonly [keyof T & string, keyof T & string],
  issues: z.core.$ZodRawIssue[],
): void {
  const given = [first, second].filter((name) => value[name] !== undefined).length
  if (given === 1) return
  const message =
    given === 0 ? `needs ${first} or ${second}` : `has ${first} and ${second}; make two of it`
  issues.push({ code: 'custom', input: value, message })
}

/** The form of `policy:`; settings.ts adds what holds between its parts. */
export const policyForm = z.strictObject({
  roles: z
    .record(objectName, z.array(verb).min(1, 'has no verb'))
    .default({})
    .describe('Names of roles, each a list of verbs; docs/policy.md explains them'),
  grants: z
    .array(grant)
    .default([])
    .describe('Who may what, where. They only add up: there is no deny, no order, no default'),
  tests: z
    .array(example)
    .default([])
    .describe('Examples; the server does not start while one of them fails'),
})

/** `policy:` as it is written, each part valid by itself. */
export type PolicySettings = z.output<typeof policyForm>
export type GrantSettings = PolicySettings['grants'][number]
