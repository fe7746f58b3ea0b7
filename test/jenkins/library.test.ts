import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { jenkinsName } from '../../scripts/jenkins.ts'
import { run } from '../../src/core/process/process.ts'
import { fieldsOf } from '../../src/steps/fields.ts'
import { loadSteps } from '../../src/steps/index.ts'
import { temporaryFolder } from '../support/temporary.ts'

// How the library behaves is tested in test/engines/jenkins.engine.ts, with Jenkins' own interpreter.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const LIBRARY = join(ROOT, 'pipeline-templates/jenkins')
const VARIABLES = join(LIBRARY, 'vars')
const files = readdirSync(VARIABLES)
const skip = spawnSync('groovy', ['--version']).error
  ? 'groovy is not installed (Debian package groovy)'
  : false

t.test('every step is a variable that knows its inputs', async (t) => {
  for (const { name, inputs } of await loadSteps()) {
    const text = readFileSync(join(VARIABLES, `${jenkinsName(name)}.groovy`), 'utf8')
    const known = fieldsOf(inputs).map((field) => `'${field.name}'`)
    t.match(text, `inputs: [${known.join(', ')}],`)
    t.match(text, `attempts: ${name === 'release' ? 1 : 3}\n`, name)
  }
})

t.test('every variable has a help', async (t) => {
  const names = files.filter((name) => name.endsWith('.groovy')).map((name) => name.slice(0, -7))
  t.ok(names.length > 15)
  for (const name of names) {
    const help = await readFile(join(VARIABLES, `${name}.txt`), 'utf8')
    t.match(help, /^<p>[A-Z]/, name)
  }
})

t.test('the library starts crosscloud as every other surface does', async (t) => {
  const read = (path: string) => readFile(join(ROOT, 'pipeline-templates', path), 'utf8')
  t.equal(await read('jenkins/resources/crosscloud/start.sh'), await read('start.sh'))
})

t.test("the library compiles with Jenkins' version of Groovy", { skip }, async (t) => {
  const folder = await temporaryFolder(t)
  const annotation = join(folder, 'com/cloudbees/groovy/cps')
  await mkdir(annotation, { recursive: true })
  await writeFile(
    join(annotation, 'NonCPS.groovy'),
    'package com.cloudbees.groovy.cps\n@interface NonCPS {}\n',
  )
  const sources = files
    .filter((name) => name.endsWith('.groovy'))
    .map((name) => join(VARIABLES, name))
  const path = `${folder}:${join(LIBRARY, 'src')}`
  await t.resolves(
    run('groovyc', ['-cp', path, '-d', join(folder, 'out'), ...sources], { cwd: folder }),
  )
})
