import { chmod, readdir, readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { renderGeneratedFiles } from '../../scripts/generated-files.ts'
import { makeRepository, runGitlab, template } from '../support/ci/gitlab.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SCHEMA = join(ROOT, 'test/contracts/gitlab-ci-schema.json')
/** Jobs of a merge request are there as well; the other is what operate-staging is clicked with. */
const REQUEST = ['--variable', 'CI_MERGE_REQUEST_IID=12', '--variable', 'CROSSCLOUD_DO=lock']
t.setTimeout(280_000)

await t.test('generated files are what `npm run generate` writes', async (t) => {
  for (const [path, text] of await renderGeneratedFiles(ROOT)) {
    const found = await readFile(join(ROOT, path), 'utf8').catch(() => '(absent)')
    t.equal(found, text, `${path}: run \`npm run generate\``)
  }
})

const names = (await readdir(join(ROOT, 'pipeline-templates')))
  .filter((name) => name.endsWith('.yml'))
  .map((name) => name.replace(/\.yml$/, ''))

await t.test('inputs are described, and reach variables, never scripts', async (t) => {
  const quote = `x'; touch pwned; '`
  for (const name of names) {
    const [header, body] = parseAllDocuments(await readFile(template(name), 'utf8')).map(
      (document) => document.toJS(),
    )
    for (const [input, { description }] of Object.entries<{ description?: string }>(
      header.spec.inputs,
    )) {
      t.ok(description, `${name}: ${input} is described`)
    }
    for (const { script = [] } of Object.values<{ script?: string[] }>(body)) {
      for (const [, input = ''] of script.join('\n').matchAll(/\$\[\[ inputs\.(\S+) \]\]/g)) {
        t.equal(name, 'setup', `${name}: ${input} is in a script`)
        const { regex } = header.spec.inputs[input]
        for (const text of [quote, '$(touch pwned)', '`x`', '\\', '"', 'a\nb', '$HOME']) {
          t.notMatch(text, new RegExp(regex), `${name}: ${input} refuses ${text}`)
        }
      }
    }
  }
})

/** The jobs that a template makes. */
const jobsOf = new Map<string, string[]>()

await t.test("headers and bodies pass GitLab's own schema", async (t) => {
  const ajv = new Ajv({ strict: false, allErrors: true })
  addFormats.default(ajv)
  const valid = ajv.compile(JSON.parse(await readFile(SCHEMA, 'utf8')))
  const errors = () => JSON.stringify(valid.errors?.slice(0, 5), null, 1)
  t.notOk(valid({ job: { script: 1, retry: 'x' } }), 'the schema refuses what is wrong')
  for (const name of names) {
    const [header] = parseAllDocuments(await readFile(template(name), 'utf8'))
    t.ok(valid(header?.toJS()), `${name}: header ${errors()}`)
    const folder = t.testdir({})
    const inputs = Object.entries<{ default?: unknown }>(header?.toJS().spec.inputs)
    const required = inputs.filter(([, input]) => input.default === undefined)
    // The schema's pattern for a URL takes `$NAME`, its format does not; the default is `$NAME`.
    const urls = inputs.filter(([, input]) => input.default === '$CROSSCLOUD_URL')
    const given = {
      ...Object.fromEntries(required.map(([input]) => [input, 'staging'])),
      ...Object.fromEntries(urls.map(([input]) => [input, 'https://staging.example.com'])),
    }
    await makeRepository(folder, {
      includes: name === 'setup' ? [] : [[name, given]],
      // The job before it.
      files: { 'before.yml': 'staging: { script: ["true"] }\n' },
    })
    const { ok, output, stdout } = await runGitlab(folder, [...REQUEST, '--preview'])
    t.ok(ok, output)
    const preview = parse(stdout)
    t.ok(valid(preview), `${name}: body ${errors()}`)
    const jobs = Object.entries<{ script?: unknown }>(preview).filter(([, job]) => job?.script)
    jobsOf.set(
      name,
      jobs.map(([job]) => job).filter((job) => !/^\.|^staging$/.test(job)),
    )
  }
})

/** Inputs that say where a job stands in the pipeline; GitLab itself reads them. */
const structural =
  /^(stage|.*-stage|job-prefix|branch|after|to|env|environments?|test|auto-stop-in)$/
const NASTY = `a b; touch pwned $(touch pwned2) \`touch pwned3\` "q" & | > x`

await t.test('shell metacharacters in an input stay its value, in every job', async (t) => {
  for (const name of names) {
    if (name === 'setup') continue
    const [header] = parseAllDocuments(await readFile(template(name), 'utf8'))
    const inputs = Object.entries<{
      default?: unknown
      type?: string
      options?: unknown
      regex?: string
    }>(header?.toJS().spec.inputs)
    const free = inputs.filter(
      ([input, { type = 'string', options, regex }]) =>
        type === 'string' && !options && !regex && !structural.test(input),
    )
    const required = inputs.filter(([, input]) => input.default === undefined)
    const folder = t.testdir({ bin: { mvn: '#!/bin/sh\n' } })
    await chmod(join(folder, 'bin', 'mvn'), 0o755)
    const given = {
      ...Object.fromEntries(required.map(([input]) => [input, 'staging'])),
      ...Object.fromEntries(free.map(([input]) => [input, NASTY])),
    }
    await makeRepository(folder, {
      setup: { command: `${process.execPath} ${join(folder, 'dump.mjs')}` },
      includes: [[name, given]],
      files: {
        'before.yml': 'staging: { script: ["true"] }\n',
        'dump.mjs': `import { appendFileSync, writeFileSync } from 'node:fs'
const { env } = process
const given = Object.entries(env).filter(([name]) => name.startsWith('CROSSCLOUD_'))
appendFileSync('dump.log', JSON.stringify({ args: process.argv.slice(2), ...Object.fromEntries(given) }) + '\\n')
writeFileSync('crosscloud.env', '')
writeFileSync('crosscloud-verify.xml', '<x/>')`,
      },
    })
    const env = { PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH}` }
    const wanted = jobsOf.get(name) ?? []
    t.ok(wanted.length > 0, `${name} makes jobs`)
    const clicked = wanted.map((job) => `--manual=${job}`)
    const ran = await runGitlab(folder, [...wanted, ...REQUEST, ...clicked], env)
    for (const job of wanted) t.equal(ran.jobs[job], 'PASS', `${name}: ${job}`, ran)
    const calls = (await readFile(join(folder, 'dump.log'), 'utf8')).trim().split('\n')
    t.ok(calls.length >= wanted.length, `${name}: every job ran`)
    for (const call of calls) {
      const { args, ...variables } = JSON.parse(call) as { args: string[] } & Record<string, string>
      t.notMatch(args.join(' '), 'pwned', `${name}: ${args.join(' ')}`)
      for (const [variable, value] of Object.entries(variables)) {
        if (value.includes('pwned')) t.equal(value, NASTY, `${name}: ${variable}`)
      }
    }
    const files = await readdir(folder)
    t.notOk(
      files.some((file) => file.startsWith('pwned')),
      `${name}: ${free.length} inputs`,
    )
  }
})
