import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { stepNames } from '../../src/steps/index.ts'

const folder = fileURLToPath(new URL('../../src/steps/', import.meta.url))

/** Steps that run others; none of the others knows a step. */
const composite = ['release', 'promote']

t.test('a step has a file of its own, and only composite steps import steps', async (t) => {
  const files = (await readdir(folder)).map((name) => name.replace(/\.ts$/, ''))
  for (const name of stepNames) {
    t.ok(files.includes(name), `src/steps/${name}.ts`)
    const text = await readFile(`${folder}${name}.ts`, 'utf8')
    const imported = [...text.matchAll(/from '\.\/([^']+)\.ts'/g)].map(([, file = '']) => file)
    const steps = imported.filter((file) => stepNames.includes(file))
    t.equal(steps.length > 0, composite.includes(name), `${name} imports ${steps}`)
    if (composite.includes(name)) t.match(text, /await callStep\(/, `${name} calls them as steps`)
  }
})
