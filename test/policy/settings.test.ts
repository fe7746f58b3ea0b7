import t from 'tap'
import { createSecrets } from '../../src/core/secrets.ts'
import { parseYamlSettings } from '../../src/core/settings/settings-file.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import { decide, whoMay } from '../../src/policy/decide.ts'
import { policySettings } from '../../src/policy/settings.ts'
import { person, question, readPolicy } from './example.ts'

const problems = async (text: string): Promise<string> => {
  const file = { text, name: 'p.yml', page: 'docs/policy.md' }
  return parseYamlSettings(policySettings, file, {}, createSecrets()).then(
    () => 'none',
    (error: Error) => error.message,
  )
}

const policyWith = (line: string) => `roles:
  tester: [view, promote]
  builder: [view, build]
grants:
  - ${line}
`
const rest = 'role: tester, apps: [webapi], envs: [test]'

t.test(
  'a grant says who, role, applications and environments, or is refused with its line',
  async (t) => {
    const cases: [string, RegExp][] = [
      [
        `{ who: 'group:team/qa', apps: [webapi], envs: [test] }`,
        /^p\.yml:5 grants\.0\.role is required$/,
      ],
      [`{ who: 'group:team/qa', role: tester, envs: [test] }`, /grants\.0\.apps is required/],
      [`{ who: 'group:team/qa', role: tester, apps: [webapi] }`, /grants\.0\.envs is required/],
      [`{ ${rest} }`, /grants\.0 needs who or job/],
      [
        `{ who: 'user:li', job: { project-id: 42 }, ${rest} }`,
        /grants\.0 has who and job; make two of it/,
      ],
      [
        `{ who: 'user:li', role: testr, apps: [webapi], envs: [test] }`,
        /grants\.0\.role "testr" is not a role: did you mean tester\?/,
      ],
      [
        `{ who: 'user:li', role: __proto__, apps: [webapi], envs: [test] }`,
        /"__proto__" is not a role; there are tester, builder/,
      ],
      [
        `{ who: 'user:li', role: constructor, apps: [webapi], envs: [test] }`,
        /"constructor" is not a role/,
      ],
      [`{ who: 'user:li', ${rest}, deny: true }`, /grants\.0\.deny is not a known setting/],
      [
        `{ who: 'user:li', ${rest}, env: [test] }`,
        /grants\.0\.env is not a known setting: did you mean envs\?/,
      ],
      [
        `{ who: 'user:li', role: tester, apps: [], envs: [test] }`,
        /grants\.0\.apps names none; write \['\*'\] for all/,
      ],
      [
        `{ who: 'user:li', role: tester, apps: ['web*'], envs: [test] }`,
        /grants\.0\.apps\.0 is neither a name nor \*.*patterns do not exist/,
      ],
      [
        `{ who: 'user:li', role: tester, apps: ['*', webapi], envs: [test] }`,
        /grants\.0\.apps has \* beside names/,
      ],
      [
        `{ who: 'user:li', role: tester, apps: '*', envs: [test] }`,
        /grants\.0\.apps is a text; write a list/,
      ],
      [
        `{ who: 'user:li', role: tester, apps: [webapi], envs: [Test] }`,
        /grants\.0\.envs\.0 is neither a name/,
      ],
      [
        `{ who: 'user:li', role: tester, apps: [webapi], envs: [1] }`,
        /grants\.0\.envs\.0 is a number; write a text/,
      ],
      ...[
        'li',
        'group:*',
        '*',
        'user:',
        'user:li x',
        'role:tester',
        'users:li',
        'user:a:b',
        'group:a#1',
        'token:t#1',
        'user:l\u200bi',
        '',
      ].map((who): [string, RegExp] => [
        `{ who: ${JSON.stringify(who)}, ${rest} }`,
        /grants\.0\.who is not who; write user:zhang, user:zhang#42, group:team\/qa or token:jenkins/,
      ]),
      [`{ job: {}, ${rest} }`, /grants\.0\.job names no project, so that any job would do/],
      [`{ job: { ref: main, ref-protected: true }, ${rest} }`, /grants\.0\.job names no project/],
      [
        `{ job: { project-id: '42' }, ${rest} }`,
        /grants\.0\.job\.project-id is not a whole number/,
      ],
      [
        `{ job: { project-id: 42, ref-protected: 'true' }, ${rest} }`,
        /ref-protected is a text; write true or false/,
      ],
      [
        `{ job: { project-id: 42, ref: 1.0 }, ${rest} }`,
        /grants\.0\.job\.ref is a number; write a text/,
      ],
      [
        `{ job: { project-id: 42, ref: 'release/*' }, ${rest} }`,
        /grants\.0\.job\.ref has \*; claims are compared whole/,
      ],
      [
        `{ job: { project-id: 42, ref-proteced: true }, ${rest} }`,
        /ref-proteced is not a known setting: did you mean ref-protected\?/,
      ],
      [`{ job: { project-id: 42, ref: '' }, ${rest} }`, /grants\.0\.job\.ref must not be empty/],
    ]
    for (const [line, problem] of cases) t.match(await problems(policyWith(line)), problem, line)
    for (const who of [
      'user:li',
      'user:li#42',
      'group:team/qa',
      'token:jenkins',
      'user:li.wang@a',
    ]) {
      t.equal(await problems(policyWith(`{ who: '${who}', ${rest} }`)), 'none', who)
    }
    t.equal(await problems(policyWith(`{ job: { project-id: 42, ref: main }, ${rest} }`)), 'none')
  },
)

t.test('a role is a list of known verbs', async (t) => {
  t.match(
    await problems('roles: { a: [view, promte] }'),
    /roles\.a\.1 is not a verb: did you mean promote\?/,
  )
  t.match(await problems("roles: { a: ['*'] }"), /roles\.a\.0 is not a verb; there are view, logs/)
  t.match(await problems('roles: { a: [1] }'), /roles\.a\.0 is not a verb/)
  t.match(await problems('roles: { a: [] }'), /roles\.a has no verb/)
  t.match(await problems('roles: { a: view }'), /roles\.a is a text; write a list/)
  t.not(await problems('roles: { A b: [view] }'), 'none')
  t.match(await problems('rules: {}'), /rules is not a known setting: did you mean roles\?/)
  t.equal(await problems('roles: { a: [view] }'), 'none')
})

const tested = (test: string) => `roles: { tester: [view, promote] }
grants:
  - { who: 'group:team/qa', role: tester, apps: [webapi], envs: [test, staging] }
  - { job: { project-id: 42, ref-protected: true }, role: tester, apps: [webapi], envs: [test] }
tests:
  - ${test}
`
const zhang = "as: ['user:zhang', 'group:team/qa']"

t.test('a policy that does not decide as its tests say is refused', async (t) => {
  const fails: [string, RegExp][] = [
    [
      `{ ${zhang}, can: promote, app: webapi, env: production }`,
      /^p\.yml:6 tests\.0 fails: zhang \(team\/qa\) may not promote webapi to production; grants\[0\] allows it on test, staging\.$/,
    ],
    [
      `{ ${zhang}, cannot: promote, app: webapi, env: staging }`,
      /tests\.0 fails: zhang \(team\/qa\) may promote webapi to staging by grants\[0\]$/,
    ],
    [
      `{ ${zhang}, can: promote, app: webapi, env: staging, source: production }`,
      /tests\.0 fails: .*promote takes view on production/,
    ],
    [
      `{ job: { project-id: 42, ref-protected: false }, can: view, app: webapi, env: test }`,
      /fails: a job of project 42 may not view webapi on test; grants\[1\] needs ref-protected true, the token says false\.$/,
    ],
    [`{ ${zhang}, app: webapi, env: test }`, /tests\.0 needs can or cannot/],
    [
      `{ ${zhang}, can: view, cannot: view, app: webapi, env: test }`,
      /tests\.0 has can and cannot/,
    ],
    [`{ can: view, app: webapi, env: test }`, /tests\.0 needs as or job/],
    [`{ as: [], can: view, app: webapi, env: test }`, /tests\.0\.as names nobody/],
    [`{ as: [zhang], cannot: view, app: webapi, env: test }`, /tests\.0\.as\.0 is not who/],
    [
      `{ as: ['user:a', 'user:b'], cannot: view, app: webapi, env: test }`,
      /tests\.0\.as names two people/,
    ],
    [
      `{ as: ['user:a', 'token:b'], cannot: view, app: webapi, env: test }`,
      /tests\.0\.as names a token and a person/,
    ],
    [
      `{ ${zhang}, cannot: viw, app: webapi, env: test }`,
      /tests\.0\.cannot is not a verb: did you mean view\?/,
    ],
    [`{ ${zhang}, cannot: view, app: '*', env: test }`, /tests\.0\.app is not a name/],
  ]
  for (const [test, problem] of fails) t.match(await problems(tested(test)), problem, test)
  for (const test of [
    `{ ${zhang}, cannot: promote, app: webapi, env: production }`,
    `{ ${zhang}, can: promote, app: webapi, env: staging }`,
    `{ ${zhang}, can: promote, app: webapi, env: staging, source: test }`,
    `{ ${zhang}, cannot: promote, app: webapi, env: staging, source: production }`,
    `{ job: { project-id: 42, ref-protected: true }, can: view, app: webapi, env: test }`,
    `{ as: ['token:jenkins'], cannot: view, app: webapi, env: test }`,
  ]) {
    t.equal(await problems(tested(test)), 'none', test)
  }
})

t.test('without a policy, or with an empty one, nobody may anything', async (t) => {
  const ask = question('view webapi test')
  const reasons = ['no grant names user:li']
  for (const policy of [compilePolicy(undefined), compilePolicy(readPolicy('{}'))]) {
    t.match(decide(policy, person('user:li'), ask), { allowed: false, visible: false, reasons })
    t.strictSame(whoMay(policy, ask), [])
  }
})
