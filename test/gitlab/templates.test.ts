import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { renderFaces } from '../../scripts/faces.ts'
import { makeRepository, runGitlab, template } from '../support/gitlab.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SCHEMA = join(ROOT, '../shared/contracts/gitlab-ci-schema.json')
t.setTimeout(240_000)

await t.test('generated files are what `npm run generate` writes', async (t) => {
  for (const [path, text] of await renderFaces(ROOT)) {
    const found = await readFile(join(ROOT, path), 'utf8').catch(() => '(absent)')
    t.equal(found, text, `${path}: run \`npm run generate\``)
  }
})

const names = (await readdir(join(ROOT, 'pipeline-templates')))
  .filter((name) => name.endsWith('.yml'))
  .map((name) => name.replace(/\.yml$/, ''))

await t.test('inputs are described, and reach variables, never scripts', async (t) => {
  for (const name of names) {
    const [header, body] = parseAllDocuments(await readFile(template(name), 'utf8')).map((one) =>
      one.toJS(),
    )
    for (const [input, { description }] of Object.entries<{ description?: string }>(
      header.spec.inputs,
    )) {
      t.ok(description, `${name}: ${input} is described`)
    }
    for (const job of Object.values<{ script?: string[] }>(body)) {
      for (const line of job.script ?? []) t.notMatch(line, '$[[', `${name}: ${line}`)
    }
  }
})

const noSchema = existsSync(SCHEMA) ? false : "GitLab's CI schema is not beside this repository"
await t.test("headers and bodies pass GitLab's own schema", { skip: noSchema }, async (t) => {
  const ajv = new Ajv({ strict: false, allErrors: true })
  addFormats.default(ajv)
  const valid = ajv.compile(JSON.parse(await readFile(SCHEMA, 'utf8')))
  const told = () => JSON.stringify(valid.errors?.slice(0, 5), null, 1)
  t.notOk(valid({ job: { script: 1, retry: 'x' } }), 'the schema refuses what is wrong')
  for (const name of names) {
    const [header] = parseAllDocuments(await readFile(template(name), 'utf8'))
    t.ok(valid(header?.toJS()), `${name}: header ${told()}`)
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
      template: name,
      inputs: given,
      // The job that this one comes after.
      files: { 'before.yml': 'staging: { script: ["true"] }\n' },
    })
    const { ok, output, stdout } = await runGitlab(folder, ['--preview'])
    t.ok(ok, output)
    const preview = parse(stdout)
    t.ok(valid(preview), `${name}: body ${told()}`)
  }
})

await t.test('shell metacharacters in an input stay its value', async (t) => {
  const nasty = `a b; touch pwned $(touch pwned2) \`touch pwned3\` "q" & | > x`
  const folder = t.testdir({
    'dump.mjs': `import { writeFileSync } from 'node:fs'
writeFileSync('dump.json', JSON.stringify({ args: process.argv.slice(2), env: process.env }))
writeFileSync('crosscloud.env', '')`,
  })
  await makeRepository(folder, {
    template: 'push-image',
    inputs: { crosscloud: 'node dump.mjs', reason: nasty, tag: '1.0.0' },
  })
  const { ok, output } = await runGitlab(folder, ['push-image'])
  t.ok(ok, output)
  const { args, env } = JSON.parse(await readFile(join(folder, 'dump.json'), 'utf8'))
  t.strictSame(args, ['push-image', '--dotenv', 'crosscloud.env'])
  t.equal(env.CROSSCLOUD_REASON, nasty)
  t.equal(env.CROSSCLOUD_TAG, '1.0.0')
  t.equal(env.CROSSCLOUD_OVERWRITE, '', 'what is not given stays empty')
  t.notOk((await readdir(folder)).some((name) => name.startsWith('pwned')))
})
