import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { text } from '../../policy/example.ts'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'

/** A server's file whose secrets are not at hand: the policy is read without them. */
async function serverIn(t: Test, policy = text, name = 'crosscloud.server.yml') {
  const cwd = await temporaryFolder(t)
  const indented = policy.replaceAll(/^(?=.)/gm, '  ')
  await writeFile(
    join(cwd, name),
    `queue: { redis: '\${NOT_SET}' }\ngitlab: { secrets: ['\${NOT_SET}'] }\npolicy:\n${indented}`,
  )
  return async (line: string, ...more: string[]) =>
    runHere(['policy', ...line.split(' '), ...more], { cwd })
}

t.test('check names the grant that decides', async (t) => {
  const policy = await serverIn(t)
  const zhang = 'check --as user:zhang --as group:team/qa'
  t.match(await policy(`${zhang} promote webapi staging --source test`), {
    code: 0,
    stdout:
      'zhang (team/qa) may promote webapi to staging by grants[0]: group:team/qa is tester for webapi on test, staging\n',
    stderr: '',
  })
  const anywhere = await policy(`${zhang} promote webapi staging`)
  t.match(anywhere, { code: 0, stdout: /\nFrom: test\n$/ })
  const all = await policy('check --as group:team/ops promote shop production')
  t.match(all, {
    code: 0,
    stdout: /for all applications on all environments\nFrom: test, staging\n$/,
  })
  t.match(await policy('check --as token:jenkins deploy webapi test'), {
    code: 0,
    stdout: /grants\[6\]/,
  })
  t.match(await policy('check --as user:sun audit-read * *'), { code: 0, stdout: /grants\[3\]/ })
  t.match(await policy('check --as user:li#7 force webapi production'), {
    code: 0,
    stdout: /grants\[8\]/,
  })
})

t.test('check ends with 1 where it is refused, and says why and who may', async (t) => {
  const policy = await serverIn(t)
  const refused = await policy('check --as user:zhang --as group:team/qa promote webapi production')
  t.strictSame(refused, {
    code: 1,
    stdout: 'refused\nWithout view there, the answer over HTTP is 404.\n',
    stderr:
      'error: zhang (team/qa) may not promote webapi to production; grants[0] allows it on test, staging.\n  → Who may: group:team/ops.\n',
    all: refused.all,
  })
  t.match(await policy('check --as group:team/q view webapi test'), {
    code: 1,
    stdout: /No grant names group:team\/q: did you mean group:team\/qa\?/,
    stderr: /somebody \(team\/q\) may not view webapi on test; no grant names group:team\/q/,
  })
  t.match(await policy('check --as user:zhang --as group:team/qa tokens webapi test'), {
    code: 1,
    stdout: 'refused\n',
    stderr: /Nobody may, by this policy/,
  })
  const json = await policy('check --as user:li deploy webapi production --json')
  t.equal(json.code, 1)
  t.match(JSON.parse(json.stdout), {
    subject: { kind: 'person', name: 'li' },
    question: { verb: 'deploy', app: 'webapi', environment: 'production' },
    allowed: false,
    visible: false,
    rule: null,
    reasons: ['no grant names user:li'],
    whoMay: ['group:team/ops'],
    error: { code: 'FORBIDDEN' },
  })
})

t.test('a job is its claims, each of its type', async (t) => {
  const policy = await serverIn(t)
  const job = 'check --claim project-id=42 --claim ref=main --claim environment=staging'
  t.match(await policy(`${job} --claim ref-protected=true deploy webapi staging`), {
    code: 0,
    stdout:
      'a job of project 42 may deploy webapi to staging by grants[4]: job project-id 42, ref main, ref-protected true, environment staging is pipeline for webapi on staging\n',
  })
  t.match(await policy(`${job} --claim ref-protected=false deploy webapi staging`), {
    code: 1,
    stderr: /grants\[4\] needs ref-protected true, the token says false\.\n/,
  })
  t.match(
    await policy(
      'check --claim project=team/shop --claim environment-protected=true --claim issuer=https://gitlab.example.com deploy shop production',
    ),
    { code: 0, stdout: /grants\[9\]/ },
  )
})

t.test('what cannot be meant is bad input, not a refusal', async (t) => {
  const policy = await serverIn(t)
  const cases: [string, RegExp][] = [
    ['check --as user:a promte webapi staging', /"promte" is not a verb: did you mean promote\?/],
    ['check --as user:a __proto__ webapi staging', /"__proto__" is not a verb/],
    ['check --as user:a deploy * staging', /"\*" is not the name.*\n.*deploy is asked for one/],
    ['check --as user:a deploy webapi Staging', /"Staging" is not the name/],
    ['check --as user:a promote webapi staging --source *', /"\*" is not the name/],
    ['check --as user:a deploy webapi staging --source test', /--source is for promote/],
    ['check deploy webapi staging', /--as is required[\s\S]*--claim project-id=42/],
    ['check --as zhang deploy webapi staging', /--as zhang is not who; write user:zhang/],
    ['check --as user:a --as user:b deploy webapi staging', /--as names two people/],
    ['check --as user:a --as token:b deploy webapi staging', /--as names a token and a person/],
    ['check --as user:a --claim ref=x deploy webapi staging', /give one kind/],
    ['check --claim ref-proteced=x deploy webapi staging', /did you mean ref-protected\?/],
    ['check --claim ref-protected=yes deploy webapi staging', /is neither true nor false/],
    ['check --claim project-id=0x2a deploy webapi staging', /is not a whole number/],
    ['check --claim ref deploy webapi staging', /--claim ref is no claim/],
    ['check --claim ref=a --claim ref=b deploy webapi staging', /--claim ref is there twice/],
    ['who-may dploy webapi staging', /"dploy" is not a verb: did you mean deploy\?/],
  ]
  for (const [line, problem] of cases) {
    const { code, stderr } = await policy(line)
    t.equal(code, 2, line)
    t.match(stderr, problem, line)
  }
})

t.test('who-may lists everybody, with the grants', async (t) => {
  const policy = await serverIn(t)
  t.match(await policy('who-may deploy webapi production'), {
    code: 0,
    stdout: 'who             role      by\ngroup:team/ops  operator  grants[2]\n',
  })
  t.match(await policy('who-may admin shop test'), {
    code: 0,
    stdout: 'Nobody may admin shop on test.\n',
  })
  const { stdout } = await policy('who-may promote webapi staging --source test --json')
  t.match(JSON.parse(stdout), {
    question: { verb: 'promote', source: 'test' },
    who: [
      { who: 'group:team/qa', rules: ['grants[0]'], roles: ['tester'] },
      { who: 'group:team/ops', rules: ['grants[2]'] },
      { rules: ['grants[4]', 'grants[5]'] },
      { who: 'token:jenkins' },
    ],
  })
})

t.test('table shows role × verb, and who may what in which environment', async (t) => {
  const policy = await serverIn(t)
  const { code, stdout } = await policy('table')
  t.equal(code, 0)
  t.match(
    stdout,
    /^verb +tester +developer +operator +auditor +pipeline +viewer +blind +platform\nview +yes/,
  )
  t.match(stdout, /^verb +test +staging +production +any other$/m)
  t.match(stdout, /^approve +group:team\/ops +group:team\/ops +group:team\/ops +group:team\/ops$/m)
  t.match(stdout, /^build +group:team\/dev +user:li#7 \(webapi, shop\)$/m)
  const { environments, roles } = JSON.parse((await policy('table --json')).stdout)
  t.strictSame(roles.auditor, ['view', 'audit-read'])
  t.strictSame(environments.production.force, [
    { who: 'user:li#7', rule: 'grants[8]', role: 'platform', apps: ['webapi', 'shop'] },
  ])
  t.strictSame(Object.keys(environments), ['test', 'staging', 'production', '*'])
})

t.test('another file is named with --server; a file without a policy is an error', async (t) => {
  const named = await serverIn(t, text, 'other.yml')
  t.match(await named('table'), { code: 2, stderr: /crosscloud\.server\.yml does not exist/ })
  t.match(await named('table --server other.yml'), { code: 0 })
  const empty = await serverIn(t, '')
  t.match(await empty('table'), { code: 2, stderr: /policy is empty; write a map/ })
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.server.yml'), 'queue: {}\n')
  t.match(await runHere(['policy', 'table'], { cwd }), {
    code: 2,
    stderr: /crosscloud\.server\.yml has no policy\n.*nobody may do anything/,
  })
})

t.test('a failing test of the policy stops the server, and names its line', async (t) => {
  const cwd = await temporaryFolder(t)
  const tests = (verb: string) =>
    `${text}tests:\n  - { as: ['user:zhang', 'group:team/qa'], ${verb}: promote, app: webapi, env: production }\n`
  const write = (verb: string) =>
    writeFile(
      join(cwd, 'crosscloud.server.yml'),
      `queue: { redis: 'redis://127.0.0.1:1' }
gitlab: { secrets: [a-secret-of-the-test-1], projects: [team/*] }
policy:${tests(verb).replaceAll('\n', '\n  ')}`,
    )
  await write('cannot')
  t.match(await runHere(['serve', '--check'], { cwd }), {
    code: 0,
    stdout: /is sound\.[\s\S]*\npolicy: 10 grants, 1 test\n$/,
  })
  await write('can')
  for (const args of [['serve', '--check'], ['serve'], ['policy', 'table']]) {
    const { code, stderr } = await runHere(args, { cwd })
    t.equal(code, 2, args.join(' '))
    t.match(
      stderr,
      /crosscloud\.server\.yml:\d+ policy\.tests\.0 fails: zhang \(team\/qa\) may not promote webapi to production; grants\[0\] allows it on test, staging\.\n/,
      args.join(' '),
    )
  }
})
