import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { jenkinsName } from '../../scripts/jenkins.ts'
import { run } from '../../src/core/process.ts'
import { fieldsOf } from '../../src/steps/fields.ts'
import { loadSteps } from '../../src/steps/index.ts'
import { variableName } from '../../src/steps/inputs.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const STUB = join(ROOT, 'test/jenkins/stub')
const LIBRARY = join(ROOT, 'pipeline-templates/jenkins')
t.setTimeout(180_000)

const skip = spawnSync('groovy', ['--version']).error
  ? 'groovy is not installed (Debian package groovy)'
  : false

const NASTY = `a'b "c" \${HOME} $HOME $$ \\ ; touch pwned; $(touch pwned2) \`touch pwned3\` & | > x\nü 中 %s =`

/** Stands in for crosscloud: keeps its arguments and variables, and answers what it is told to. */
const STAND_IN = `import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
const { env, argv } = process
const variables = Object.fromEntries(
  Object.entries(env).filter(([name]) => name.startsWith('CROSSCLOUD_') && name !== 'CROSSCLOUD_COMMAND'),
)
appendFileSync('calls.log', JSON.stringify({ case: env.CASE, args: argv.slice(2), variables }) + '\\n')
const answer = (value) => console.log(typeof value === 'string' ? value : JSON.stringify(value, null, 2))
console.error('a line of the log')
const step = argv[2]
if (env.SILENT) process.exit(127)
if (env.FAULT) {
  answer({ error: JSON.parse(env.FAULT) })
  process.exit(Number(env.CODE))
}
const file = 'tries-' + env.CASE
let tries = 0
try { tries = Number(readFileSync(file, 'utf8')) } catch {}
writeFileSync(file, String(tries + 1))
if (tries < Number(env.BUSY ?? 0)) {
  answer({ error: { code: 'UNAVAILABLE', message: 'host app-01 does not answer', retryable: true } })
  process.exit(75)
}
answer(step === 'status' ? 'application  environment  version' : {
  war: 'target/webapi.war', commit: 'c0ffee', imageFolder: '.crosscloud/image',
  release: 'webapi@1.0.0', verified: true, containers: [{ host: 'app-01' }],
})
`

interface Case {
  name: string
  call: string
  inputs?: Record<string, unknown>
  variables?: Record<string, string>
  answers?: unknown[]
  branch?: string
}

interface Result {
  answer?: Record<string, unknown>
  error?: string
  calls: [string, unknown][]
  build: Record<string, unknown>
}

const steps = await loadSteps()

/** A case for each step in which every text input has every character that a shell cares about. */
const nasty = steps.map((step): Case => {
  const inputs = fieldsOf(step.inputs).map(({ name, type }) => [
    name,
    type === 'boolean' ? true : type === 'array' ? [NASTY, 'second'] : NASTY,
  ])
  return {
    name: `nasty ${step.name}`,
    call: jenkinsName(step.name),
    inputs: Object.fromEntries(inputs),
  }
})

const fault = { code: 'INPUT_INVALID', message: 'there is no "x"', hint: 'Known: test.' }
const cases: Case[] = [
  ...nasty,
  { name: 'nothing', call: 'crosscloudDeploy' },
  {
    name: 'empty',
    call: 'crosscloudDeploy',
    inputs: { release: '', reason: null, force: false },
    variables: { CROSSCLOUD_RELEASE: 'from outside' },
  },
  {
    name: 'unknown',
    call: 'crosscloudDeploy',
    inputs: { env: 'test', releas: 'x', 'lock-wait': '1m' },
  },
  { name: 'map', call: 'crosscloudDeploy', inputs: { env: { a: 1 } } },
  {
    name: 'fault',
    call: 'crosscloudDeploy',
    inputs: { env: 'x' },
    variables: { FAULT: JSON.stringify(fault), CODE: '2' },
  },
  { name: 'silent', call: 'crosscloudDeploy', variables: { SILENT: '1' } },
  { name: 'busy', call: 'crosscloudDeploy', variables: { BUSY: '2' } },
  { name: 'too busy', call: 'crosscloudDeploy', variables: { BUSY: '9' } },
  {
    name: 'gate',
    call: 'crosscloudGate',
    inputs: { release: 'webapi@1.0.0', env: 'staging', submitter: 'testers,li', hours: 5 },
    answers: [
      { submitter: 'li', reason: '  ' },
      { submitter: 'wang', reason: 'tested $HOME' },
    ],
  },
  { name: 'gate unknown', call: 'crosscloudGate', inputs: { release: 'a', env: 'b', who: 'c' } },
  { name: 'gate without', call: 'crosscloudGate', inputs: { env: 'b' } },
  {
    name: 'road',
    call: 'Jenkinsfile',
    answers: [
      { submitter: 'li', reason: 'tested' },
      { submitter: 'wang', reason: 'go live' },
    ],
  },
  { name: 'branch', call: 'Jenkinsfile', branch: 'feature' },
  {
    name: 'broken road',
    call: 'Jenkinsfile',
    variables: { FAULT: JSON.stringify(fault), CODE: '1' },
  },
]

t.test('the shared library in a stubbed pipeline', { skip }, async (t) => {
  const folder = t.testdir({ 'stand-in.mjs': STAND_IN })
  const file = join(folder, 'cases.json')
  const given = cases.map((one) => ({
    ...one,
    variables: { CROSSCLOUD_COMMAND: 'node stand-in.mjs', CASE: one.name, ...one.variables },
  }))
  await writeFile(file, JSON.stringify(given))
  const { stdout } = await run(
    'groovy',
    [
      ...['-cp', STUB, '-Dfile.encoding=UTF-8', '-Dsun.jnu.encoding=UTF-8'],
      ...[join(STUB, 'run.groovy'), LIBRARY, file, folder],
    ],
    { cwd: folder, env: { LC_ALL: 'C.UTF-8' } },
  )
  const answers = JSON.parse(stdout) as Result[]
  const log = (await readFile(join(folder, 'calls.log'), 'utf8')).trim().split('\n')
  const started = log.map((line) => JSON.parse(line))
  const of = (name: string) => {
    const at = cases.findIndex((one) => one.name === name)
    const result = answers[at] ?? { calls: [], build: {} }
    const scripts = result.calls.flatMap(([step, what]) => (step === 'sh' ? [what] : []))
    return { ...result, scripts, started: started.filter((one) => one.case === name) }
  }

  t.test('inputs arrive unchanged in variables, and no shell reads them', async (t) => {
    for (const step of steps) {
      const { error, answer, scripts, started } = of(`nasty ${step.name}`)
      t.equal(error, undefined, step.name)
      t.strictSame(scripts, [
        `$CROSSCLOUD_COMMAND ${step.name} --json || echo "crosscloud-exit-code=$?"`,
      ])
      const wanted = fieldsOf(step.inputs).map(({ name, type }) => [
        variableName(name),
        type === 'boolean' ? 'true' : type === 'array' ? [NASTY, 'second'] : NASTY,
      ])
      const lists = Object.entries<string>(started[0].variables).map(([name, text]) => [
        name,
        text.startsWith('[') ? JSON.parse(text) : text,
      ])
      t.strictSame(started[0].args, [step.name, '--json'])
      t.strictSame(Object.fromEntries(lists), Object.fromEntries(wanted), step.name)
      t.match(answer, { release: 'webapi@1.0.0', verified: true, containers: [{ host: 'app-01' }] })
    }
    t.notOk((await readdir(folder)).some((name) => name.startsWith('pwned') || name === 'x'))
  })

  t.test('what is not given is not set; what is unknown is refused', async (t) => {
    t.strictSame(of('nothing').started[0].variables, {})
    t.strictSame(of('empty').started[0].variables, { CROSSCLOUD_FORCE: 'false' })
    t.match(of('unknown'), {
      error:
        'crosscloud deploy has no parameter releas, lock-wait. It knows: release, env, reason, force, lockWait',
      started: [],
    })
    t.match(of('map'), { error: /env is a map/, started: [] })
  })

  t.test('faults are told, and those worth it tried again', async (t) => {
    t.equal(
      of('fault').error,
      'crosscloud deploy ended with exit code 2: there is no "x"\n  → Known: test.',
    )
    t.equal(of('fault').scripts.length, 1)
    t.match(of('silent').error, 'exit code 127: it said nothing; see above')
    const busy = of('busy')
    t.match(busy, { error: undefined, answer: { release: 'webapi@1.0.0' } })
    t.equal(busy.scripts.length, 3)
    t.strictSame(
      busy.calls.flatMap(([step, what]) => (step === 'sleep' ? [what] : [])),
      ['10 SECONDS', '20 SECONDS'],
    )
    t.match(of('too busy').error, 'exit code 75: host app-01 does not answer')
    t.equal(of('too busy').scripts.length, 3)
  })

  t.test('a gate names who let it through, and insists on a reason', async (t) => {
    const { answer, calls } = of('gate')
    t.strictSame(answer, { submitter: 'wang', reason: 'let through by wang: tested $HOME' })
    const asked = calls.filter(([step]) => step === 'input')
    t.match(asked, [
      [
        'input',
        {
          message: 'Let webapi@1.0.0 into staging?',
          submitter: 'testers,li',
          submitterParameter: 'submitter',
        },
      ],
      ['input', { message: 'Let webapi@1.0.0 into staging? Say why, please.' }],
    ])
    t.strictSame(calls[0], ['timeout', '5 HOURS'])
    t.match(of('gate unknown').error, 'no parameter who. It knows: release, env, submitter, hours')
    t.match(of('gate without').error, 'needs release and env')
  })

  t.test('the Jenkinsfile: a push to test, two gates, a table at the end', async (t) => {
    const road = of('road')
    t.equal(road.error, undefined)
    t.strictSame(
      road.started.map(({ args }) => args[0]),
      [
        ...['build-war', 'bake-image', 'push-image', 'deploy', 'verify-md5'],
        ...['promote', 'promote', 'status'],
      ],
    )
    t.match(
      road.started.map(({ variables }) => variables),
      [
        {},
        {
          CROSSCLOUD_WAR: 'target/webapi.war',
          CROSSCLOUD_COMMIT: 'c0ffee',
          CROSSCLOUD_VERSION: 'next',
        },
        { CROSSCLOUD_IMAGE_FOLDER: '.crosscloud/image', CROSSCLOUD_ENV: 'test' },
        { CROSSCLOUD_RELEASE: 'webapi@1.0.0', CROSSCLOUD_ENV: 'test', CROSSCLOUD_LOCK_WAIT: '10m' },
        { CROSSCLOUD_RELEASE: 'webapi@1.0.0', CROSSCLOUD_ENV: 'test' },
        { CROSSCLOUD_TO: 'staging', CROSSCLOUD_REASON: 'let through by li: tested' },
        { CROSSCLOUD_TO: 'production', CROSSCLOUD_REASON: 'let through by wang: go live' },
        {},
      ],
    )
    t.strictSame(road.build, { description: 'webapi@1.0.0' })
    const stages = road.calls.flatMap(([step, what]) => (step === 'stage' ? [what] : []))
    t.strictSame(
      stages,
      [
        ...['Build on crosscloud', 'WAR', 'Image', 'Test', 'Gate to staging'],
        ...['Staging on crosscloud', 'Gate to production', 'Production on crosscloud'],
      ],
      'no agent is held while somebody is asked',
    )
    const asked = road.calls.flatMap(([step, what]) => (step === 'input' ? [what] : []))
    t.match(asked, [{ submitter: 'testers' }, { submitter: 'operators' }])
    t.match(road.calls.at(-1), ['echo', /^application +environment/])

    t.strictSame(
      of('branch').started.map(({ args }) => args[0]),
      ['build-war', 'status'],
    )
    t.match(of('broken road').error, 'there is no "x"')
    t.strictSame(
      of('broken road').calls.filter(([step]) => step === 'input'),
      [],
    )
  })
})

t.test('every step has a variable and its help', async (t) => {
  for (const { name } of steps) {
    for (const end of ['groovy', 'txt']) {
      const file = join(LIBRARY, 'vars', `${jenkinsName(name)}.${end}`)
      t.ok(existsSync(file), file)
    }
  }
})
