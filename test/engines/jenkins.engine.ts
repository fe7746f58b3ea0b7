import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { type Build, noJenkins, type Result, runBuilds } from './jenkins.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
t.setTimeout(590_000)

const NASTY = `a'b "c" \${HOME} $HOME $$ \\ ; touch pwned; $(touch pwned2) \`touch pwned3\` & | > x\nü 中 %s =`
const groovyText = (text: string) =>
  `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`
const wrongGates = {
  'gate of none': "[stagin: 'testers']",
  'gate of the first': "[test: 'testers', staging: false]",
  'gate for nobody': '[staging: []]',
  'gates as text': "'testers'",
}
const onNode = (body: string) => `node('crosscloud') {\n${body}\n}`

/** An agent with crosscloud on its PATH, and a Maven that writes down how it was called. */
async function makeAgent(t: Test) {
  const workspace = await temporaryFolder(t)
  const bin = join(await temporaryFolder(t), 'bin')
  await mkdir(bin)
  const program = async (name: string, text: string) => {
    await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`)
    await chmod(join(bin, name), 0o755)
    return join(bin, name)
  }
  await program('crosscloud', `exec ${process.execPath} ${MAIN} "$@"`)
  await program(
    'mvn',
    'for word; do printf "%s\\0" "$word"; done > arguments; mkdir -p target; echo war > target/a.war',
  )
  const settings = `app: webapi
war: { path: target/a.war }
ledger: mysql://nobody@127.0.0.1:1/ledger
environments:
  test: { image: 127.0.0.1:1/webapi, config: "file:test.yaml", hosts: { app-01: "tcp://127.0.0.1:1" } }
  staging: { from: test, image: 127.0.0.1:1/webapi, config: "file:staging.yaml" }
`
  await writeFile(join(workspace, 'crosscloud.yml'), settings)
  const path = `${bin}:${process.env.PATH}`
  return { workspace, program, agent: { PATH: path, HOME: workspace }, bin }
}

t.test(
  'the steps of the library survive a restart at every step',
  { skip: await noJenkins() },
  async (t) => {
    const { workspace, program, agent } = await makeAgent(t)
    const printing = async (name: string, text: string, code: number) => ({
      CROSSCLOUD_COMMAND: await program(name, `cat <<'END'\n${text}\nEND\nexit ${code}`),
    })
    const build = (name: string, script: string, more: Partial<Build> = {}): Build => ({
      name,
      script,
      workspace,
      agent,
      ...more,
    })
    const deploy = onNode("crosscloudDeploy(release: 'webapi@1.0.0', env: 'test')")
    const nowhere = onNode(`crosscloudDeploy(release: 'webapi@1.0.0', env: ${groovyText(NASTY)})`)
    const caught = (body: string) => `import io.crosscloud.StepFailed
def found = [:]
node('crosscloud') {
    try { ${body} } catch (StepFailed fault) {
        echo('held over a restart')
        found = [exitCode: fault.exitCode, code: fault.code, hint: fault.hint]
    }
}
return found`
    const gate = (more: string) => `crosscloudGate(release: 'webapi@1.0.0', env: 'staging'${more})`
    const branchWith = (more: string) => `crosscloudPipeline(settings: 'secret.yml', ${more})`
    const war = `crosscloudBuildWar(args: [${groovyText(NASTY)}, 'second'])`
    const onMain = { sandbox: true, environment: { BRANCH_NAME: 'main' } }
    const builds: Build[] = [
      build('text', nowhere),
      build('text on ASCII', nowhere, { ascii: true }),
      build('list', onNode(war)),
      build(
        'secrets of a branch',
        branchWith("checkCredentials: [string(credentialsId: 'b', variable: 'SECRET')]"),
        {
          environment: { BRANCH_NAME: 'feature/x' },
          credentials: { b: 'for reading' },
        },
      ),
      build(
        'no secrets of a branch',
        branchWith("credentials: [string(credentialsId: 'b', variable: 'SECRET')]"),
        {
          environment: { BRANCH_NAME: 'feature/x' },
          credentials: { b: 'for writing' },
        },
      ),
      build('field', caught("crosscloudDeploy(release: 'webapi@1.0.0', env: 'x')")),
      build('field in the sandbox', caught("crosscloudDeploy(release: 'webapi@1.0.0', env: 'x')"), {
        sandbox: true,
      }),
      build('busy', deploy),
      build('busy release', onNode('crosscloudRelease()')),
      build('no JSON', deploy, { environment: await printing('words', 'all went well', 0) }),
      build('broken JSON', deploy, { environment: await printing('broken', '{"release": ', 1) }),
      build('text as error', deploy, {
        environment: await printing('texts', '{"error": "in words"}', 3),
      }),
      build('marker', deploy, {
        environment: await printing(
          'marker',
          '{"error": "crosscloud-exit-code=0\\n"}\ncrosscloud-exit-code=0',
          4,
        ),
      }),
      build(
        'image',
        onNode(
          `docker.image('runner').inside { crosscloudDeploy(release: 'webapi@1.0.0', env: 'x') }`,
        ),
        {
          agent: {},
          images: { runner: { PATH: agent.PATH } },
        },
      ),
      build('nothing', deploy, { agent: {} }),
      build('null', onNode("crosscloudPromote(release: null, to: 'staging')")),
      build('empty', onNode("crosscloudPromote(release: '', to: 'staging')")),
      build('positional', onNode("crosscloudDeploy('webapi@1.0.0', 'test')")),
      build('null alone', onNode('crosscloudDeploy(null)')),
      build('unknown', onNode(`crosscloudDeploy(("rel" + "eas"): 'x', "lock\${'-'}wait": '1m')`)),
      build('GString key', onNode(`crosscloudDeploy(["\${'release'}": 'webapi@1.0.0', env: 'x'])`)),
      build('map', onNode('crosscloudDeploy(env: [a: 1])')),
      build(
        'junit',
        caught("crosscloudDeploy(release: 'webapi@1.0.0', env: 'x', junit: 'a b.xml')"),
      ),
      build('status', onNode('crosscloudStatus()')),
      build('gate', gate(", submitter: ['testers', 'li'], hours: 5"), {
        // By REST without parameters; with nothing but a name; without a reason.
        answers: [
          null,
          'li',
          { submitter: 'li', reason: '  ' },
          { submitter: 'wang', reason: 'tested $HOME' },
        ],
      }),
      build('gate in the sandbox', gate(''), {
        sandbox: true,
        answers: [{ submitter: 'wang', reason: 'x' }],
      }),
      build('gate at once', gate(', hours: 0')),
      build('gate for nothing', "crosscloudGate(env: 'staging')"),
      build('plain job', 'crosscloudPipeline()', { checkout: {} }),
      build('plain job of a branch', 'crosscloudPipeline()', {
        checkout: { GIT_BRANCH: 'origin/feature/x' },
      }),
      build('branch', 'crosscloudPipeline()', { environment: { BRANCH_NAME: 'feature/x' } }),
      build('pipeline in the sandbox', 'crosscloudPipeline()', {
        sandbox: true,
        environment: { BRANCH_NAME: 'main' },
      }),
      ...Object.entries(wrongGates).map(([name, gates]) =>
        build(name, `crosscloudPipeline(gates: ${gates})`, onMain),
      ),
      build(
        'gate of a GString',
        "crosscloudPipeline(gates: [\"${'staging'}\": 'testers'])",
        onMain,
      ),
      build(
        'held LazyMap',
        `def map = new groovy.json.JsonSlurper().parseText('{"a": 1}')\necho 'x'\nmap.a`,
      ),
      build(
        'held iterator',
        `def all = [1].getClass().getMethod('iterator').invoke([1])\necho 'x'\nall.next()`,
      ),
      build('loop', "for (one in [1, 2]) { echo(one.toString()) }\n'done'"),
      build('not allowed 1', 'new groovy.json.JsonSlurperClassic()', { sandbox: true }),
      build('not allowed 2', 'groovy.json.JsonOutput.toJson([1])', { sandbox: true }),
      build('not allowed 3', "'x'.execute()", { sandbox: true }),
      build('allowed', 'groovy.json.JsonOutput.toJson([a: 1])', { sandbox: true }),
    ]
    await writeFile(
      join(workspace, 'secret.yml'),
      "app: webapi\nwar: { path: target/a.war, args: ['-Dkey=${SECRET}'] }\n",
    )
    const results = await runBuilds(t, builds)
    const of = (name: string) => results.get(name) as Result
    const steps = (name: string, step: string) =>
      of(name).calls.flatMap(([name, what]) => (name === step ? [what] : []))

    t.test('inputs arrive unchanged, whatever the shell and the locale', async (t) => {
      for (const name of ['text', 'text on ASCII']) {
        t.match(of(name).error, `there is no environment "${NASTY}"`, name)
      }
      t.equal(of('list').error, undefined)
      const words = (await readFile(join(workspace, 'arguments'), 'utf8')).split('\0')
      t.match(of('list').answer, { war: 'target/a.war', warSize: 4 })
      t.ok(words.includes('clean'))
      const { stdout } = await run('ls', ['-A'], { cwd: workspace })
      t.notMatch(stdout, /pwned|^x$/m)
    })

    t.test('an error is reported, with its code as a field', async (t) => {
      const wanted = {
        exitCode: 2,
        code: 'INPUT_INVALID',
        hint: 'Known environments: test, staging.',
      }
      t.strictSame(of('field').answer, wanted)
      t.strictSame(of('field in the sandbox').answer, wanted)
      t.match(of('no JSON').error, /ended well, but printed no JSON document/)
      t.match(of('broken JSON').error, 'exit code 1: it said nothing; see above')
      t.match(of('text as error').error, 'exit code 3: in words')
      t.match(of('marker').error, 'exit code 4')
      t.match(of('nothing').error, 'crosscloud deploy ended with exit code 2')
      t.match(of('nothing').console, 'error: ')
      t.match(of('image').error, 'there is no environment "x"')
    })

    t.test('what does not respond is tried again, but never a whole release', async (t) => {
      t.match(of('busy').error, 'crosscloud deploy ended with exit code 75')
      t.strictSame(steps('busy', 'sleep'), ['10 SECONDS', '20 SECONDS'])
      t.equal(steps('busy', 'sh').length, 3)
      t.match(of('busy release').error, 'crosscloud release ended with exit code 75')
      t.equal(steps('busy release', 'sh').length, 1)
    })

    t.test('parameters that cannot be meant are refused before anything runs', async (t) => {
      t.match(
        of('null').error,
        /crosscloudPromote: release is null; did the stage that sets it run\?/,
      )
      t.match(of('empty').error, /crosscloudPromote: release is empty/)
      for (const name of ['positional', 'null alone']) {
        t.match(of(name).error, 'crosscloudDeploy takes its parameters by name', name)
      }
      t.match(of('unknown').error, 'no parameter releas, lock-wait. It knows: release, env, reason')
      t.match(of('map').error, /env is a map/)
      for (const name of ['null', 'empty', 'positional', 'null alone', 'unknown', 'map']) {
        t.strictSame(steps(name, 'sh'), [], name)
      }
      t.match(of('GString key').error, 'there is no environment "x"')
    })

    t.test('reports and the status are results of the step', async (t) => {
      t.match(of('junit').answer, { exitCode: 2 })
      t.equal(of('status').error, undefined, 'a status never fails a build')
      t.equal(of('status').answer, '')
      t.match(steps('status', 'echo'), ['crosscloud status ended with exit code 75; see above'])
    })

    t.test(
      'a gate names who let it through, insists on a reason, and holds no agent',
      async (t) => {
        t.strictSame(of('gate').answer, {
          submitter: 'wang',
          reason: 'let through by wang: tested $HOME',
        })
        t.equal(steps('gate', 'input').length, 4)
        t.match(steps('gate', 'input'), [
          { message: 'Let webapi@1.0.0 into staging?', submitter: 'testers,li' },
          { message: 'Let webapi@1.0.0 into staging?\nSay why, please.' },
        ])
        t.strictSame(steps('gate', 'timeout'), ['5 HOURS'])
        t.strictSame(steps('gate in the sandbox', 'timeout'), ['72 HOURS'])
        t.match(of('gate in the sandbox').answer, { submitter: 'wang' })
        t.match(of('gate at once').error, 'hours is 0; give a whole number above 0')
        t.match(of('gate for nothing').error, 'needs release and env')
      },
    )

    t.test('a job that delivers nothing says so', async (t) => {
      t.match(of('plain job').error, /built no branch that Jenkins can name.*multibranch/)
      t.match(of('plain job of a branch').error, /this job built feature\/x, and .* delivers main/)
      t.equal(of('branch').error, undefined)
      t.strictSame(steps('branch', 'sh'), ['crosscloud build-war'])
      t.equal(of('secrets of a branch').error, undefined)
      t.match(of('no secrets of a branch').error, 'variable SECRET is not set')
      t.match(of('pipeline in the sandbox').error, 'crosscloud bake-image ended with exit code')
      t.strictSame(of('pipeline in the sandbox').refused, [])
    })

    t.test('a gate that is written wrong stops the build, and is open to nobody', async (t) => {
      for (const [name, wanted] of Object.entries({
        'gate of none': 'there is no environment stagin in crosscloud.yml; known: test, staging',
        'gate of the first': 'test has no gate, a push goes there: take it out of gates',
        'gate for nobody': 'gates names nobody for staging',
        'gates as text': "gates is no map; write gates: [staging: 'testers']",
      })) {
        t.match(of(name).error, `crosscloudPipeline: ${wanted}`, name)
        t.strictSame(steps(name, 'sh'), ['crosscloud environments'], name)
        t.strictSame(of(name).refused, [], name)
      }
      t.match(of('gate of a GString').error, 'crosscloud bake-image ended with exit code')
    })

    t.test('the engine refuses what Jenkins refuses', async (t) => {
      t.match(of('held LazyMap'), { thrown: 'java.io.NotSerializableException', error: /LazyMap/ })
      t.match(of('held iterator'), {
        thrown: 'java.io.NotSerializableException',
        error: /ArrayList\$Itr/,
      })
      t.match(of('loop'), {
        answer: 'done',
        calls: [
          ['echo', '1'],
          ['echo', '2'],
        ],
      })
      t.ok(of('loop').restarts >= 2)
      t.strictSame(of('not allowed 1').refused, ['new groovy.json.JsonSlurperClassic'])
      t.strictSame(of('not allowed 2').refused, [
        'staticMethod groovy.json.JsonOutput toJson java.lang.Object',
      ])
      t.match(of('not allowed 3').error, /not permitted to use .*execute/)
      t.match(of('allowed'), { answer: '{"a":1}', refused: [] })
    })
  },
)
