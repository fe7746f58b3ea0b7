import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { loadSteps } from '../../src/steps/index.ts'
import { kebab } from '../../src/steps/inputs.ts'
import {
  actionWording,
  gitlabWording,
  inWords,
  jenkinsWording,
  type Wording,
} from '../../src/surface/wording.ts'
import { runHere } from '../support/program.ts'

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url))
/** Only the command line, the demo and the server's own settings speak to people in flags. */
const OF_THE_COMMAND_LINE = /^(?:cli|demo|server)\//
const OF_NO_HINTS = /^(?:demo|server)\//

interface Text {
  where: string
  text: string
}

/** Every text in the sources; what is put into a template is a word of its own. */
async function textsOfSources(others: RegExp): Promise<Text[]> {
  const files = (await readdir(SOURCES, { recursive: true })).filter((file) => file.endsWith('.ts'))
  const texts: Text[] = []
  for (const file of files) {
    if (others.test(file)) continue
    const text = await readFile(join(SOURCES, file), 'utf8')
    const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true)
    const visit = (node: ts.Node): void => {
      const found = textOf(node)
      if (found !== undefined && !isExample(node)) {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart())
        texts.push({ where: `src/${file}:${line + 1}`, text: found })
      }
      ts.forEachChild(node, visit)
    }
    visit(source)
  }
  return texts
}

function textOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text
  if (!ts.isTemplateExpression(node)) return undefined
  return node.head.text + node.templateSpans.map(({ literal }) => `NAME${literal.text}`).join('')
}

/** A step's example is shown by the command line alone. */
function isExample({ parent }: ts.Node): boolean {
  return ts.isPropertyAssignment(parent) && parent.name.getText() === 'example'
}

const SPAN = /`(--[a-z][^`\n]*|crosscloud [a-z][^`\n]*)`/g
const texts = await textsOfSources(OF_THE_COMMAND_LINE)
/** An argument of a program, not a text for people. */
const isArgument = (text: string) => /^--?[\w-]+(?:=.*)?$/.test(text)
/** A command in the making: it goes between backquotes where it is put together. */
const toBePut = (text: string) => /^(?:crosscloud|docker) [a-z-]+ --\S/.test(text)

t.test(
  'texts name flags and commands between backquotes, so that surfaces can word them',
  async (t) => {
    const wrong = texts
      .filter(({ text }) => !isArgument(text) && !toBePut(text))
      .filter(({ text }) => {
        const prose = text.replace(/`[^`\n]*`/g, '')
        return [
          /(?:^|\s)--[a-z]/,
          /\bcrosscloud (?:[a-z]+ )*--?[a-z]|[Rr]un:? crosscloud /,
          // That is for the surface to say.
          /\bclicks?\b/i,
        ].some((pattern) => pattern.test(prose))
      })
    t.strictSame(wrong, [])
    const named = texts.flatMap(({ text }) => [...text.matchAll(SPAN)]).length
    t.ok(named > 25, `${named} of them`)
  },
)

const surfaces: Record<string, Wording> = {
  action: actionWording,
  gitlab: gitlabWording,
  jenkins: jenkinsWording,
}
const steps = new Map(
  (await loadSteps()).map((step) => [step.name, Object.keys(step.inputs.shape).map(kebab)]),
)
const inputs = new Set([...steps.values()].flat())
const spans = texts.flatMap(({ where, text }) =>
  [...(toBePut(text) ? `\`${text}\`` : text).matchAll(SPAN)].map(([span = '', line = '']) => ({
    where,
    span,
    line,
  })),
)

t.test(
  'what a text names is there: the input, the step with these inputs, the command',
  async (t) => {
    const { all } = await runHere(['--help'], { cwd: SOURCES })
    for (const { where, line } of spans) {
      const flags = [...line.matchAll(/--(?:no-)?([a-z][\w-]*)/g)].map(([, name = '']) => name)
      const [, command = ''] = /^crosscloud (\S+)/.exec(line) ?? []
      if (line.startsWith('--')) {
        const known =
          line.startsWith('--NAME') || inputs.has(flags[0] ?? '') || flags[0] === 'settings'
        t.ok(known, `${where}: ${line}`)
      } else if (steps.has(command)) {
        const unknown = flags.filter((name) => !steps.get(command)?.includes(name))
        t.strictSame(
          unknown.filter((name) => name !== 'help'),
          [],
          `${where}: ${line}`,
        )
      } else if (command !== 'NAME') {
        t.match(all, new RegExp(`^  ${command} `, 'm'), `${where}: ${line}`)
      }
    }
  },
)

/** A proxy drains a server; a container stops gracefully: docs/glossary.md. */
const OF_PROXIES =
  /^src\/(?:proxies\/|targets\/(?:docker\/rollout\/)?proxy\.ts|delivery\/plan\/schema\.ts)/

t.test('only a proxy drains', async (t) => {
  const texts = await textsOfSources(OF_NO_HINTS)
  // `drain` alone is an event of Node's streams.
  const drains = texts.filter(({ text }) => text !== 'drain' && /\bdrain/i.test(text))
  t.ok(drains.length > 3)
  t.strictSame(
    drains.filter(({ where }) => !OF_PROXIES.test(where)),
    [],
  )
})

/** What a command cannot do without, or would do somewhere else. */
const needed: [command: RegExp, flags: string[]][] = [
  [/^crosscloud (?:hosts|instances) /, ['--env']],
  [/^crosscloud deploy\b/, ['--env']],
  [/^crosscloud promote\b/, ['--to']],
  [/^crosscloud rollback\b/, ['--env', '--reason']],
]

t.test('a command that a hint names has the flags that it needs', async (t) => {
  let found = 0
  for (const { where, text } of await textsOfSources(OF_NO_HINTS)) {
    for (const [, line = ''] of (toBePut(text) ? `\`${text}\`` : text).matchAll(SPAN)) {
      const flags = needed.flatMap(([command, all]) => (command.test(line) ? all : []))
      found += flags.length
      t.strictSame(
        flags.filter((flag) => !line.includes(`${flag} `)),
        [],
        `${where}: ${line}`,
      )
    }
  }
  t.ok(found > 20, `${found} of them`)
})

for (const [name, wording] of Object.entries(surfaces)) {
  t.test(`on ${name} no text tells of a flag or of a command that is not there`, async (t) => {
    for (const { where, span, line } of spans) {
      const told = inWords(span.replaceAll('NAME', 'name'), wording)
      if (/on the command line$|in a job of your own$/.test(told)) {
        t.notOk(steps.has(/^crosscloud (\S+)/.exec(line)?.[1] ?? ''), `${where}: ${told}`)
      } else {
        t.notMatch(told, /--[a-z]|`crosscloud /, where)
      }
    }
  })
}

t.test('each surface says it in its own words, and leaves everything else alone', async (t) => {
  const text =
    'Run `crosscloud deploy --release a@1 --env test`, or move it with `--overwrite`; ' +
    '`--lock-wait 10m` waits. `docker ps` and --env of Maven stay. `crosscloud history --app a` lists them.'
  t.equal(
    inWords(text, actionWording),
    'Run the action deploy with `release: a@1`, `env: test`, or move it with the input `overwrite`; ' +
      'the input `lock-wait: 10m` waits. `docker ps` and --env of Maven stay. `crosscloud history --app a` on the command line lists them.',
  )
  t.equal(
    inWords(text, gitlabWording),
    'Run the job deploy-test, or move it with the input `overwrite`; ' +
      'the input `lock-wait: 10m` waits. `docker ps` and --env of Maven stay. `crosscloud history --app a` on the command line lists them.',
  )
  t.equal(
    inWords(text, jenkinsWording),
    "Run `crosscloudDeploy(release: 'a@1', env: 'test')`, or move it with the parameter `overwrite`; " +
      "the parameter `lockWait: '10m'` waits. `docker ps` and --env of Maven stay. `crosscloud history --app a` on the command line lists them.",
  )
  t.equal(inWords('`crosscloud deploy --help` explains', actionWording), 'docs/steps.md explains')
  t.equal(inWords('with `--no-record`', actionWording), 'with the input `record: false`')
  t.equal(inWords('`crosscloud promote --to staging`', gitlabWording), 'the job promote-to-staging')
})

t.test('the jobs that GitLab users are sent to are jobs of the environment template', async (t) => {
  const template = await readFile(join(SOURCES, '../pipeline-templates/environment.yml'), 'utf8')
  const jobs = [...template.matchAll(/^\$\[\[ inputs\.job-prefix \]\](\S+)\$\[\[/gm)]
  const sent = (await loadSteps())
    .filter(({ ci }) => ci?.environment)
    .map(({ name, environmentInput = 'env' }) =>
      inWords(`\`crosscloud ${name} --${environmentInput} test\``, gitlabWording),
    )
  const known = jobs.map(([, job]) => `the job ${job}test`)
  t.ok(sent.length >= 5, `${sent.length} steps`)
  for (const job of sent) t.ok(known.includes(job), job)
})
