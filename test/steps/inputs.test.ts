import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { z } from 'zod'
import { run } from '../../src/core/process/process.ts'
import { formatRelease, parseRelease } from '../../src/delivery/release-name.ts'
import { imageByDigest } from '../../src/registry/reference.ts'
import { buildWar } from '../../src/steps/build-war.ts'
import { fieldsOf, readText } from '../../src/steps/fields.ts'
import { loadSteps } from '../../src/steps/index.ts'
import {
  callStep,
  completeInputs,
  imageReference,
  imageRepository,
  kebab,
  parseInputs,
  releaseName,
  runStep,
  variableName,
} from '../../src/steps/inputs.ts'
import { defineStep } from '../../src/steps/step.ts'
import { testContext } from '../support/context.ts'
import { temporaryFolder } from '../support/temporary.ts'

await t.test('every input and output has one name as a flag and as a variable', async (t) => {
  for (const [name, flag] of [
    ['war', 'war'],
    ['warLayout', 'war-layout'],
    ['warMd5', 'war-md5'],
    ['warSha256', 'war-sha256'],
    ['imageFolder', 'image-folder'],
  ] as const) {
    t.equal(kebab(name), flag)
  }
  t.equal(variableName('warMd5'), 'CROSSCLOUD_WAR_MD5')
  // Two inputs or outputs that are called the same outside would overwrite each other.
  for (const step of await loadSteps()) {
    for (const names of [step.inputs, step.outputs].map(({ shape }) => Object.keys(shape))) {
      t.equal(new Set(names.map(kebab)).size, names.length, step.name)
      for (const name of names) t.match(kebab(name), /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/)
    }
  }
})

await t.test('a release is written application@version', async (t) => {
  t.strictSame(parseRelease('webapi@1.4.2'), { app: 'webapi', version: '1.4.2' })
  t.equal(formatRelease(parseRelease('a-b@v1_2-rc.1')), 'a-b@v1_2-rc.1')
  for (const text of ['', 'webapi', 'webapi@', '@1', 'a@1@2', 'Web@1', 'a@-1', '../a@1', 'a@1/2']) {
    t.throws(() => parseRelease(text), { code: 'INPUT_INVALID', hint: /webapi@1\.4\.2/ }, text)
  }
  const digest = `sha256:${'0'.repeat(64)}`
  t.equal(
    imageByDigest({ registry: 'r.example.com', name: 'a/b' }, digest),
    `r.example.com/a/b@${digest}`,
  )
})

await t.test('a reference, a repository and a release leave their inputs as types', async (t) => {
  const hub = { registry: 'registry-1.docker.io', name: 'library/tomcat' }
  t.strictSame(imageReference.parse('tomcat:10'), { ...hub, tag: '10' })
  t.strictSame(imageRepository.parse('tomcat'), hub)
  t.strictSame(releaseName.parse('webapi@1.4.2'), { app: 'webapi', version: '1.4.2' })
  const refused = (schema: z.ZodType, given: unknown, message: RegExp) =>
    t.match(schema.safeParse(given).error?.issues, [{ message }])
  refused(imageReference, 'https://x/y', /not a URL/)
  refused(imageRepository, 'x/y:tag', /has a tag/)
  refused(releaseName, 'webapi', /"webapi" is not a release/)
  refused(releaseName, undefined, /^is required$/)
  refused(releaseName, 7, /^is not a text$/)
  t.equal(releaseName.optional().parse(undefined), undefined)

  // One step hands on what another has parsed; whoever has no types may hand on anything.
  t.strictSame(imageReference.parse({ ...hub, tag: '10' }), { ...hub, tag: '10' })
  t.strictSame(releaseName.parse({ app: 'webapi', version: '1', digest: 'x' }), {
    app: 'webapi',
    version: '1',
  })
  refused(imageReference, {}, /./)
  refused(imageReference, { registry: 'docker.io', name: 'tomcat' }, /./)
  refused(imageRepository, { ...hub, name: '../x' }, /is not a repository name/)
  refused(releaseName, { app: 'webapi' }, /./)
  refused(releaseName, null, /^is not a text$/)
})

await t.test('outside the program the inputs of a step are texts and lists', async (t) => {
  for (const { name, inputs } of await loadSteps()) {
    for (const field of fieldsOf(inputs)) {
      const types = ['string', 'boolean', 'number', 'array']
      t.ok(types.includes(field.type), `${name}, ${field.name}: ${field.type}`)
      t.ok(field.description, `${name}, ${field.name} is described`)
    }
  }
  const [release, to] = fieldsOf(
    z.object({ release: releaseName.describe('A release'), to: imageReference.optional() }),
  )
  t.match(release, { type: 'string', description: 'A release', required: true })
  t.match(to, { type: 'string', required: false })
})

const sample = defineStep({
  name: 'sample',
  summary: 'A step for this test.',
  example: 'sample --name x',
  inputs: z.object({
    name: z.string(),
    count: z.number().default(3),
    warLayout: z.enum(['exploded', 'packaged']).default('exploded'),
    args: z.array(z.string()).default([]),
    env: z.string().optional(),
  }),
  outputs: z.object({ result: z.string() }),
  fromSettings: ({ app }, environment) => ({
    name: app,
    ...(environment && { args: [environment.containerName] }),
  }),
  report: ({ result }) => [`Result  ${result}`],
  run: async (inputs) => ({ result: JSON.stringify(inputs) }),
})

await t.test('all problems of the inputs are reported at once, by flag', async (t) => {
  const values = { count: 'many', warLayout: 'flat', args: ['a', 7] }
  t.throws(() => parseInputs(sample, values), {
    code: 'INPUT_INVALID',
    message: /^`--name` is required\n`--count` .+\n`--war-layout` .+\n`--args\.1` .+$/,
    hint: /crosscloud sample --help/,
  })
  t.strictSame(parseInputs(sample, { name: 'x' }), {
    name: 'x',
    count: 3,
    warLayout: 'exploded',
    args: [],
  })
})

await t.test('a given input precedes crosscloud.yml, which precedes the default', async (t) => {
  t.strictSame(completeInputs(sample, { name: undefined }, undefined, undefined), {})
  const folder = await temporaryFolder(t)
  await writeFile(
    join(folder, 'crosscloud.yml'),
    'app: from-settings\nenvironments: { test: { image: r.example.com/x } }\n',
  )
  const context = testContext(t, folder)
  const result = async (given: Partial<z.input<typeof sample.inputs>>) =>
    JSON.parse((await runStep(sample, given, context)).result)
  t.match(await result({}), { name: 'from-settings', count: 3, args: [] })
  t.match(await result({ name: 'given', count: 0 }), { name: 'given', count: 0 })
  t.match(await result({ env: 'test' }), { args: ['from-settings-test'] })
  await t.rejects(result({ env: 'prod' }), {
    code: 'INPUT_INVALID',
    message: /no environment "prod"/,
    hint: /Known environments: test\./,
  })
  const lines: string[] = []
  const log = { ...context.log, info: (text: string) => lines.push(text) }
  await callStep(sample, { name: 'x' }, { ...context, log })
  t.match(lines[0], /^Result {2}\{"name":"x"/)
})

await t.test('an input that is given as text is read as its type', async (t) => {
  const field = (name: string, schema: z.ZodType) => {
    const [one] = fieldsOf(z.object({ [name]: schema }))
    if (!one) throw new Error('no field')
    return one
  }
  const [flag, count, list, text] = [
    field('flag', z.boolean().default(false)),
    field('count', z.number().optional()),
    field('list', z.array(z.string())),
    field('text', z.string().describe('A text')),
  ]
  t.match(text, { name: 'text', type: 'string', description: 'A text', required: true })
  t.match(flag, { type: 'boolean', default: false, required: false })
  t.equal(readText(flag, 'true', 'X'), true)
  t.equal(readText(flag, 'false', 'X'), false)
  t.equal(readText(count, '-1.5', 'X'), -1.5)
  t.equal(readText(text, ' as it is ', 'X'), ' as it is ')
  t.strictSame(readText(list, 'a b\n\n  c ', 'X'), ['a b', 'c'])
  t.strictSame(readText(list, '["a\\nb", ""]', 'X'), ['a\nb', ''])
  for (const [one, bad] of [
    [flag, 'yes'],
    [count, '1e'],
    [count, ''],
    [list, '["a"'],
    [list, '[1]x'],
  ] as const) {
    t.throws(
      () => readText(one, bad, 'CROSSCLOUD_X'),
      { code: 'INPUT_INVALID', message: /^CROSSCLOUD_X: / },
      bad,
    )
  }
})

/** A Maven wrapper that notes its arguments and leaves a WAR. */
const WRAPPER = `#!/bin/sh
for arg in "$@"; do printf '%s\\n' "$arg"; done > arguments
mkdir -p target && printf war > target/webapi.war
`

await t.test('build-war builds in place', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'mvnw'), WRAPPER, { mode: 0o755 })
  const context = testContext(t, folder, { variables: { CI_COMMIT_SHA: 'from-ci' } })
  const args = ['-Dname=$(touch hit) a b', '-Pdev']
  const built = await runStep(
    buildWar,
    { war: 'target/webapi.war', maven: './mvnw', args },
    context,
  )
  t.strictSame(built, {
    war: 'target/webapi.war',
    warMd5: '4ca9d3dcd2b6843e62d75eb191887cf2',
    warSha256: built.warSha256,
    warSize: 3,
    commit: 'from-ci',
  })
  const result = (await readFile(join(folder, 'arguments'), 'utf8')).trim().split('\n')
  t.strictSame(result.slice(-4), [...args, 'clean', 'package'])

  const elsewhere = runStep(buildWar, { war: 'target/other.war', maven: './mvnw' }, context)
  await t.rejects(elsewhere, { code: 'NOT_FOUND', message: /other\.war does not exist after/ })
  const old = join(folder, 'target/old.war')
  await writeFile(old, 'from yesterday')
  await utimes(old, new Date('2026-01-01'), new Date('2026-01-01'))
  const stale = runStep(buildWar, { war: 'target/old.war', maven: './mvnw' }, context)
  await t.rejects(stale, { code: 'NOT_FOUND', message: /old\.war was not written by this build/ })
  const failing = runStep(buildWar, { war: 'x', maven: 'false' }, context)
  await t.rejects(failing, { code: 'COMMAND_FAILED', message: /^false .* exited with 1/ })
  const absent = runStep(buildWar, { war: 'x', maven: 'no-maven-here' }, context)
  await t.rejects(absent, { code: 'NOT_FOUND', hint: /Install no-maven-here/ })
})

await t.test('build-war builds a branch of a repository', async (t) => {
  const folder = await temporaryFolder(t)
  const repository = join(folder, 'repository')
  await mkdir(repository)
  await writeFile(join(repository, 'mvnw'), WRAPPER, { mode: 0o755 })
  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=dev', '-c', 'user.email=dev@example.com', ...args], {
      cwd: repository,
    })
  await git('init', '--quiet', '--initial-branch=main')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'one')
  await git('checkout', '--quiet', '-b', 'feature/x')
  await git('commit', '--quiet', '--allow-empty', '--message', 'two')
  const { stdout: commit } = await git('rev-parse', 'HEAD')
  await git('checkout', '--quiet', 'main')

  const context = testContext(t, folder)
  const build = (inputs: { repository: string; branch?: string }) =>
    runStep(buildWar, { war: 'target/webapi.war', maven: './mvnw', ...inputs }, context)
  for (const url of [repository, './repository', `file://${repository}`]) {
    const built = await build({ repository: url, branch: 'feature/x' })
    t.equal(built.commit, commit)
    t.equal(await readFile(built.war, 'utf8'), 'war')
  }
  const main = await build({ repository })
  t.not(main.commit, commit)
  await t.rejects(build({ repository, branch: 'absent' }), { code: 'COMMAND_FAILED' })

  const hit = join(folder, 'hit')
  for (const url of [`ext::sh -c touch% ${hit}`, '--upload-pack=touch hit', 'fd::17', 'a b']) {
    await t.rejects(build({ repository: url }), { code: 'INPUT_INVALID' }, url)
  }
  for (const branch of ['--upload-pack=touch', 'a b', '$(touch x)', '']) {
    await t.rejects(build({ repository, branch }), { code: 'INPUT_INVALID' }, branch)
  }
  await t.rejects(readFile(hit), { code: 'ENOENT' })
})
