import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { placeInputs } from '../src/actions/inputs.ts'
import { fieldsOf, type InputField } from '../src/steps/fields.ts'
import { loadSteps } from '../src/steps/index.ts'
import { kebab } from '../src/steps/inputs.ts'
import type { Step } from '../src/steps/step.ts'
import { gitlabSetup, gitlabTemplate } from './gitlab.ts'
import { jenkinsLibrary } from './jenkins.ts'
import { openapiJson } from './openapi.ts'
import {
  generatedFrom,
  meaningOf,
  type SettingsFile,
  settingsFiles,
  settingsJson,
  settingsPage,
  stepsPage,
  stepsTable,
  yaml,
} from './pages.ts'
import { policyTables, verbsTable } from './policy.ts'

/** The runtime of GitHub's hosted runners (node20 was removed from them in September 2026). */
const RUNTIME = 'node24'
/** The step that is the whole flow: the action at the root. */
const WHOLE_FLOW = 'release'
/** Pages with workflows to copy. */
const WORKFLOW_PAGES = ['docs/github.md', 'docs/plan.md', 'docs/webhooks.md']
const POLICY_PAGE = 'docs/policy.md'

/** Everything that is derived from the steps and the settings: path → text. */
export async function renderGeneratedFiles(root: string): Promise<Map<string, string>> {
  const steps = await loadSteps()
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const files = new Map<string, string>()
  for (const step of steps) {
    files.set(`actions/${step.name}/action.yml`, action(step, `../../dist/${step.name}.cjs`))
    if (step.name === WHOLE_FLOW) files.set('action.yml', action(step, `dist/${step.name}.cjs`))
    else files.set(`pipeline-templates/${step.name}.yml`, gitlabTemplate(step))
  }
  files.set('pipeline-templates/setup.yml', gitlabSetup(root))
  for (const [path, text] of jenkinsLibrary(root, steps, version)) files.set(path, text)
  files.set('docs/steps.md', stepsPage(steps))
  const { settings, server, agent } = settingsFiles
  const json = (file: SettingsFile) => `${JSON.stringify(settingsJson(file), null, 2)}\n`
  files.set('docs/settings.md', settingsPage(settings))
  files.set('docs/crosscloud.schema.json', json(settings))
  files.set('docs/server-settings.md', settingsPage(server))
  files.set('docs/crosscloud.server.schema.json', json(server))
  files.set('docs/agent-settings.md', settingsPage(agent))
  files.set('docs/crosscloud.agent.schema.json', json(agent))
  files.set('docs/openapi.json', await openapiJson())
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const text = readFileSync(join(root, name), 'utf8')
    files.set(name, between(withRef(text, version), 'steps', stepsTable(steps)))
  }
  const policy = between(readFileSync(join(root, POLICY_PAGE), 'utf8'), 'verbs', verbsTable())
  files.set(POLICY_PAGE, between(policy, 'tables', policyTables(policy)))
  for (const page of WORKFLOW_PAGES) {
    files.set(page, withRef(readFileSync(join(root, page), 'utf8'), version))
  }
  return files
}

function action(step: Step, main: string): string {
  const described = (fields: InputField[]) =>
    Object.fromEntries(
      fields.map((field) => [kebab(field.name), { description: meaningOf(field) }]),
    )
  const placed = Object.fromEntries(
    Object.entries(placeInputs).map(([name, description]) => [name, { description }]),
  )
  const outputs = fieldsOf(step.outputs, 'output')
  return (
    generatedFrom(`src/steps/${step.name}.ts`) +
    yaml({
      name: `crosscloud ${step.name}`,
      description: step.summary,
      inputs: { ...described(fieldsOf(step.inputs)), ...placed },
      outputs: Object.fromEntries(
        outputs.map(({ name, description }) => [kebab(name), { description }]),
      ),
      runs: { using: RUNTIME, main },
    })
  )
}

/** What workflows name: an exact tag, or the one that moves with releases of the same first number. */
function withRef(text: string, version: string): string {
  const ref = /(?<=\bcrosscloud(?:\/actions\/[\w-]+)?@v)\d+(\.[\d.]+)?\b/g
  return text.replace(ref, (_all, exact?: string) =>
    exact ? version : (version.split('.')[0] ?? ''),
  )
}

/** Puts text between `<!-- name:begin -->` and `<!-- name:end -->`. */
function between(text: string, name: string, content: string): string {
  const marks = new RegExp(`(<!-- ${name}:begin -->\\n)[\\s\\S]*?(<!-- ${name}:end -->)`)
  return text.replace(marks, (_all, begin: string, end: string) => `${begin}${content}\n${end}`)
}
