import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { compilePolicy } from '../../src/policy/compile.ts'
import { decide, mayViewAny, refusalText, whoMay } from '../../src/policy/decide.ts'
import { job, person, policy, question, readPolicy, token } from './example.ts'

t.test('a refusal says what is missing and who can help', async (t) => {
  const told = (subject: ReturnType<typeof person>, line: string) =>
    refusalText(subject, question(line), decide(policy, subject, question(line)))
  const zhang = { ...person('user:zhang', 'group:team/qa'), name: 'zhang (team/qa)' }
  t.equal(
    told(zhang, 'deploy webapi staging'),
    'zhang (team/qa) may not deploy webapi to staging; grants[0] as tester has no deploy. Who may: team/ops, night.',
  )
  t.equal(
    told(zhang, 'promote webapi production staging'),
    'zhang (team/qa) may not promote webapi to production; grants[0] allows it on test, staging.',
    'who sees nothing there is told of nobody there',
  )
  t.equal(
    told(job({ 'ref-protected': false }), 'deploy webapi test'),
    'job 4711 may not deploy webapi to test; grants[4] allows it on staging. Who may: team/dev, team/ops.',
  )
  t.equal(
    told(person('user:sun'), 'tokens * *'),
    'sun may not tokens all applications on all environments; grants[3] as auditor has no tokens.',
  )
  t.equal(
    told({ ...person('user:x'), name: 'x\n::error::y' }, 'view webapi test'),
    'x\\n::error::y may not view webapi on test; no grant names user:x.',
  )
})

t.test('the refusals that the documentation shows are those of its policy', async (t) => {
  const page = await readFile(new URL('../../docs/policy.md', import.meta.url), 'utf8')
  const [, yaml = ''] = /^```yaml\n(# crosscloud\.server[\s\S]*?)^```$/m.exec(page) ?? []
  const shown = compilePolicy(readPolicy(stringify(parse(yaml).policy)))
  const zhang = { ...person('user:zhang', 'group:team/qa'), name: 'zhang (team/qa)' }
  const asked = [
    [zhang, question('promote webapi production staging')],
    [job({ 'ref-protected': false }), question('deploy webapi staging')],
  ] as const
  for (const [subject, ask] of asked) {
    const decision = decide(shown, subject, ask)
    t.equal(decision.visible, true)
    t.ok(page.includes(`\n${refusalText(subject, ask, decision)}\n`), subject.name)
  }
})

t.test('a long list of reasons is cut', async (t) => {
  const grant = "{ who: 'user:li', role: viewer, apps: [webapi], envs: [test] }"
  const many = compilePolicy(
    readPolicy(`{ roles: { viewer: [view] }, grants: [${Array(6).fill(grant).join(', ')}] }`),
  )
  const ask = question('deploy webapi test')
  const decision = decide(many, person('user:li'), ask)
  t.equal(decision.reasons.length, 6)
  t.match(
    refusalText(person('user:li'), ask, decision),
    /; grants\[3\] as viewer has no deploy; and 2 more\.$/,
  )
})

t.test('who may is everybody whom a grant allows it, for an auditor', async (t) => {
  const may = (line: string) => whoMay(policy, question(line))
  t.strictSame(may('deploy webapi production'), ['group:team/ops'])
  t.strictSame(may('deploy webapi staging'), [
    'group:team/ops',
    'job project-id 42, ref main, ref-protected true, environment staging',
    'token:jenkins',
    'user:night',
  ])
  t.strictSame(may('force webapi production'), ['user:li#7'])
  t.strictSame(may('force webapi test'), [])
  t.strictSame(may('audit-read * *'), ['user:sun'])
  t.strictSame(may('tokens * *'), [], 'all is more than a list of all names')
})

t.test('who may promote also sees the source, if need be by another grant', async (t) => {
  const two = compilePolicy(
    readPolicy(`
roles: { viewer: [view], blind: [promote], tester: [view, promote] }
grants:
  - { who: 'group:a', role: blind, apps: [webapi], envs: [staging] }
  - { who: 'group:b', role: viewer, apps: [webapi], envs: [test] }
  - { who: 'user:c', role: blind, apps: [webapi], envs: [staging] }
  - { who: 'user:c', role: viewer, apps: ['*'], envs: ['*'] }
  - { who: 'token:t', role: blind, apps: [webapi], envs: [staging] }
  - { job: { project-id: 1 }, role: blind, apps: [webapi], envs: [staging] }
  - { job: { project-id: 1, ref: main }, role: viewer, apps: [webapi], envs: [test] }
  - { job: { project-id: 2 }, role: viewer, apps: [webapi], envs: [test] }
`),
  )
  const listed = [
    'group:a with group:b',
    'group:a with user:c',
    'user:c',
    'job project-id 1 with job project-id 1, ref main',
  ]
  t.strictSame(whoMay(two, question('promote webapi staging test')), listed)
  t.strictSame(whoMay(two, question('promote webapi staging')), listed)
  t.strictSame(whoMay(two, question('promote webapi staging production')), [
    'group:a with user:c',
    'user:c',
  ])
  const promote = question('promote webapi staging test')
  const asked = (...names: string[]) => decide(two, person(...names), promote).allowed
  t.strictSame(
    [asked('group:a'), asked('group:b'), asked('group:a', 'group:b')],
    [false, false, true],
  )
  t.equal(decide(two, token({}, 'token:t'), promote).allowed, false)
})

t.test('whether somebody may view any environment is known without their list', async (t) => {
  const scope = (envs: string[]) => ({ verbs: ['view' as const], apps: ['*'], envs })
  const ops = person('group:team/ops')
  const asked: [ReturnType<typeof person>, string, boolean][] = [
    [person('group:team/qa'), 'webapi', true],
    [person('group:team/qa'), 'shop', false],
    [ops, 'shop', true],
    [person('user:night'), 'webapi', false],
    [person('user:nobody'), 'webapi', false],
    [job(), 'webapi', true],
    [job(), 'shop', false],
    [{ ...ops, scope: scope(['review-7']) }, 'shop', true],
    [{ ...ops, scope: { ...scope(['*']), verbs: ['deploy'] } }, 'shop', false],
    [{ ...ops, scope: { ...scope(['*']), apps: ['webapi'] } }, 'shop', false],
    [person('group:team/ops'), '../x', false],
  ]
  for (const [subject, app, expected] of asked) {
    t.equal(mayViewAny(policy, subject, app), expected, `${subject.name} ${app}`)
  }
})
