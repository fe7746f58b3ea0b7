import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fieldsOf, type InputField } from '../src/steps/fields.ts'
import { kebab } from '../src/steps/inputs.ts'
import type { Step } from '../src/steps/step.ts'
import { meaningOf } from './pages.ts'

const FOLDER = 'pipeline-templates/jenkins'
/** Written by hand; only the library's version in them is kept up. */
const HAND_WRITTEN = ['pipeline-templates/jenkins/Jenkinsfile', 'docs/jenkins.md']
/** How often a step is tried where something does not respond. */
const ATTEMPTS = 3
/** What every variable of a step knows beside the step's inputs; vars/crosscloud.groovy reads them. */
const common: readonly Pick<InputField, 'name' | 'description'>[] = [
  {
    name: 'settings',
    description: 'crosscloud.yml to use; default: in the folder the step runs in',
  },
  {
    name: 'server',
    description:
      'Address of the server that runs deploy, promote, rollback and verify-md5 and has the ledger, https://…; or none',
  },
  { name: 'junit', description: 'File to write a JUnit report to' },
  {
    name: 'by',
    description: 'Whose deed it is in the ledger, as crosscloudGate answers it: gate.submitter',
  },
]

/** The shared library for Jenkins, a variable for each step with its help: path → text. */
export function jenkinsLibrary(
  root: string,
  steps: readonly Step[],
  version: string,
): Map<string, string> {
  const files = new Map<string, string>()
  for (const path of HAND_WRITTEN) {
    const text = readFileSync(join(root, path), 'utf8')
    files.set(path, text.replace(/(?<=\bcrosscloud@v?)\d[\w.-]*/g, version))
  }
  const start = readFileSync(join(root, 'pipeline-templates/start.sh'), 'utf8')
  files.set(`${FOLDER}/resources/crosscloud/start.sh`, start)
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
  const inputs = fieldsOf(step.inputs).map(({ name }) => `'${name}'`)
  return `// Generated from src/steps/${step.name}.ts by \`npm run generate\`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: '${jenkinsName(step.name)}',
        name: '${step.name}',
        inputs: [${inputs.join(', ')}],
        attempts: ${step.ci?.runsOnce ? 1 : ATTEMPTS}
    )
}
`
}

/** What Jenkins shows under "Global Variable Reference". */
function help(step: Step): string {
  const line = (name: string, meaning: string) =>
    `<dt><code>${name}</code></dt><dd>${escaped(meaning)}</dd>`
  const parameter = (field: InputField) => line(field.name, meaningOf(field))
  const outputs = fieldsOf(step.outputs, 'output')
  return [
    `<p>${escaped(step.summary)}</p>`,
    `<p>The same as <code>crosscloud ${kebab(step.name)}</code>. Parameters:</p>`,
    '<dl>',
    ...fieldsOf(step.inputs).map(parameter),
    ...common.map(({ name, description }) => line(name, description)),
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
