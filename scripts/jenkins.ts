import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fieldsOf, type InputField } from '../src/steps/fields.ts'
import { kebab, variableName } from '../src/steps/inputs.ts'
import type { Step } from '../src/steps/step.ts'
import { told } from './pages.ts'

const FOLDER = 'pipeline-templates/jenkins'
/** Written by hand; only the version in them is kept up. */
const HAND_WRITTEN = ['Jenkinsfile', 'vars/crosscloud.groovy']

/** The shared library for Jenkins, a variable for each step with its help: path → text. */
export function jenkinsLibrary(
  root: string,
  steps: readonly Step[],
  version: string,
): Map<string, string> {
  const files = new Map<string, string>()
  for (const path of HAND_WRITTEN) {
    const text = readFileSync(join(root, FOLDER, path), 'utf8')
    files.set(`${FOLDER}/${path}`, text.replace(/(?<=\bcrosscloud@v?)\d[\w.-]*/g, version))
  }
  for (const step of steps) {
    files.set(`${FOLDER}/vars/${jenkinsName(step.name)}.groovy`, groovy(step))
    files.set(`${FOLDER}/vars/${jenkinsName(step.name)}.txt`, help(step))
  }
  return files
}

/** `verify-md5` → `crosscloudVerifyMd5`. */
export function jenkinsName(step: string): string {
  const words = step.split('-').map((word) => word.charAt(0).toUpperCase() + word.slice(1))
  return `crosscloud${words.join('')}`
}

function groovy(step: Step): string {
  const known = fieldsOf(step.inputs).map(({ name }) => `        ${name}: '${variableName(name)}',`)
  return `// Generated from src/steps/${step.name}.ts by \`npm run generate\`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('${step.name}', [
${known.join('\n')}
    ], inputs)
}
`
}

/** What Jenkins shows under "Global Variable Reference". */
function help(step: Step): string {
  const line = (name: string, meaning: string) =>
    `<dt><code>${name}</code></dt><dd>${escaped(meaning)}</dd>`
  const given = (field: InputField) => line(field.name, told(field))
  const outputs = fieldsOf(step.outputs, 'output')
  return [
    `<p>${escaped(step.summary)}</p>`,
    `<p>The same as <code>crosscloud ${kebab(step.name)}</code>. Parameters:</p>`,
    '<dl>',
    ...fieldsOf(step.inputs).map(given),
    '</dl>',
    '<p>Answers a map:</p>',
    '<dl>',
    ...outputs.map(({ name, description }) => line(name, description)),
    '</dl>',
    '',
  ].join('\n')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
