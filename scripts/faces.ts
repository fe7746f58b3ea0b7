import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { z } from 'zod'
import { settingsSchema } from '../src/settings.ts'
import { fieldsOf, type InputField } from '../src/steps/fields.ts'
import { steps } from '../src/steps/index.ts'
import { kebab, variableName } from '../src/steps/inputs.ts'
import type { Step } from '../src/steps/step.ts'

/** The runtime of GitHub's hosted runners (node20 was removed from them in September 2026). */
const RUNTIME = 'node24'
/** The step that is the whole flow: the action at the root. */
const WHOLE_FLOW = 'release'

/** Everything that is derived from the steps and the settings: path → text. */
export function renderFaces(root: string): Map<string, string> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const faces = new Map<string, string>()
  for (const step of steps) {
    faces.set(`actions/${step.name}/action.yml`, action(step, `../../dist/${step.name}.cjs`))
    if (step.name === WHOLE_FLOW) faces.set('action.yml', action(step, `dist/${step.name}.cjs`))
    else faces.set(`pipeline-templates/${step.name}.yml`, gitlabTemplate(step, version))
  }
  faces.set('docs/steps.md', stepsPage())
  faces.set('docs/settings.md', settingsPage())
  faces.set('docs/crosscloud.schema.json', `${JSON.stringify(settingsJson(), null, 2)}\n`)
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const text = readFileSync(join(root, name), 'utf8')
    faces.set(name, between(text, 'steps', stepsTable()))
  }
  return faces
}

const notice = (step: Step) =>
  `# Generated from src/steps/${step.name}.ts by \`npm run generate\`. Do not edit.\n`

function yaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, singleQuote: true })
}

function action(step: Step, main: string): string {
  const described = (fields: InputField[]) =>
    Object.fromEntries(fields.map((field) => [kebab(field.name), { description: told(field) }]))
  const outputs = fieldsOf(step.outputs, 'output')
  return (
    notice(step) +
    yaml({
      name: `crosscloud ${step.name}`,
      description: step.summary,
      inputs: described(fieldsOf(step.inputs)),
      outputs: Object.fromEntries(
        outputs.map(({ name, description }) => [kebab(name), { description }]),
      ),
      runs: { using: RUNTIME, main },
    })
  )
}

function told({ description, default: value }: InputField): string {
  if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) {
    return description
  }
  return `${description} (default: ${Array.isArray(value) ? value.join(' ') : String(value)})`
}

/** Steps that change an environment: one at a time there, and shown on GitLab's environment page. */
const environmentInput: Record<string, string> = { deploy: 'env', promote: 'to' }

function gitlabTemplate(step: Step, version: string): string {
  const fields = fieldsOf(step.inputs)
  const environment = environmentInput[step.name]
  const common = {
    stage: { default: environment ? 'deploy' : 'build', description: 'Stage of the job' },
    'job-prefix': { default: '', description: 'Put before the name of the job' },
    'job-image': { default: 'node:24', description: 'Image the job runs in' },
    tags: { type: 'array', default: [], description: 'Tags of the runners that may take the job' },
    needs: { type: 'array', default: [], description: 'Jobs this one waits for' },
    rules: {
      type: 'array',
      default: [{ when: 'on_success' }],
      description: 'When the job runs',
    },
    crosscloud: {
      default: `npx --yes crosscloud@${version}`,
      description: 'Command that starts crosscloud; split at spaces',
    },
  }
  const inputs = Object.fromEntries(
    fields.map((field) => [kebab(field.name), templateInput(field)]),
  )
  if (environment) inputs[environment] = { description: fieldTold(fields, environment) }
  const input = (name: string) => `$[[ inputs.${name} ]]`
  const variables = Object.fromEntries(
    fields.map(({ name }) => [variableName(name), { value: input(kebab(name)), expand: false }]),
  )
  const job = {
    stage: input('stage'),
    image: input('job-image'),
    tags: input('tags'),
    needs: input('needs'),
    rules: input('rules'),
    variables: {
      CROSSCLOUD_COMMAND: { value: input('crosscloud'), expand: false },
      ...variables,
    },
    ...(environment && {
      environment: { name: input(environment) },
      resource_group: input(environment),
    }),
    script: [`$CROSSCLOUD_COMMAND ${step.name} --dotenv crosscloud.env`],
    retry: { max: 2, exit_codes: 75 },
    artifacts: {
      ...(artifacts[step.name] && { paths: artifacts[step.name] }),
      reports: { dotenv: 'crosscloud.env' },
    },
  }
  const body = yaml({ [`${input('job-prefix')}${step.name}`]: job })
  return `${notice(step)}${yaml({ spec: { inputs: { ...common, ...inputs } } })}---\n${body}`
}

/** What a later job of the same pipeline needs on disk. */
const artifacts: Record<string, string[]> = {
  'build-war': ['**/target/*.war'],
  'bake-image': ['.crosscloud/image/'],
}

function fieldTold(fields: InputField[], name: string): string {
  return fields.find((field) => field.name === name)?.description ?? ''
}

/** Always a text, since GitLab's variables are texts; empty means: as crosscloud.yml says. */
function templateInput(field: InputField): object {
  const options = field.type === 'boolean' ? ['true', 'false'] : field.choices
  const more = field.type === 'array' ? '; one a line' : ''
  return {
    default: '',
    description: `${told(field)}${more}`,
    ...(options && { options: ['', ...options] }),
  }
}

function row(...cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function stepsTable(): string {
  return [
    row('step', 'what it does'),
    row('---', '---'),
    ...steps.map(({ name, summary }) => row(`[${name}](docs/steps.md#${name})`, summary)),
  ].join('\n')
}

function stepsPage(): string {
  const parts = steps.map((step) => {
    const inputs = fieldsOf(step.inputs).map((field) =>
      row(`\`--${kebab(field.name)}\``, `\`${variableName(field.name)}\``, told(field)),
    )
    const outputs = fieldsOf(step.outputs, 'output').map(({ name, description }) =>
      row(`\`${name}\``, `\`${variableName(name)}\``, description),
    )
    return [
      `## ${step.name}`,
      step.summary,
      `\`\`\`sh\ncrosscloud ${step.example}\n\`\`\``,
      [row('input', 'variable', 'meaning'), row('---', '---', '---'), ...inputs].join('\n'),
      [row('output', 'in dotenv', 'meaning'), row('---', '---', '---'), ...outputs].join('\n'),
    ].join('\n\n')
  })
  return `<!-- Generated from src/steps by \`npm run generate\`. Do not edit. -->
# The steps

Inputs come from flags, then variables, then crosscloud.yml. An empty variable counts as not set.
In an action, inputs and outputs have the flags' names without \`--\`.

${parts.join('\n\n')}\n`
}

interface JsonSchema {
  $ref?: string
  type?: string
  description?: string
  default?: unknown
  enum?: unknown[]
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: JsonSchema | boolean
  anyOf?: JsonSchema[]
}

function settingsJson(): JsonSchema {
  return z.toJSONSchema(settingsSchema, { io: 'input', unrepresentable: 'any' }) as JsonSchema
}

function settingsPage(): string {
  const rows = settingRows(settingsJson(), '')
  return `<!-- Generated from src/settings.ts by \`npm run generate\`. Do not edit. -->
# crosscloud.yml

[The example's file](../examples/webapi/crosscloud.yml) is commented line by line. Editors that know
JSON Schema can use [crosscloud.schema.json](crosscloud.schema.json). Unknown settings are errors.
\`\${NAME}\` is replaced by a variable of the process's environment.

${[row('setting', 'meaning', 'default'), row('---', '---', '---'), ...rows].join('\n')}\n`
}

function settingRows(schema: JsonSchema, path: string): string[] {
  const own = Object.entries(schema.properties ?? {})
  const named =
    typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined
  const rows = own.flatMap(([name, part]) => {
    const full = path ? `${path}.${name}` : name
    const required = schema.required?.includes(name) && part.default === undefined
    const value =
      part.default === undefined ? (required ? 'required' : '') : JSON.stringify(part.default)
    return [row(`\`${full}\``, part.description ?? '', value), ...settingRows(part, full)]
  })
  const below = named?.properties ? settingRows(named, `${path}.<name>`) : []
  return [...rows, ...below]
}

/** Puts text between `<!-- name:begin -->` and `<!-- name:end -->`. */
function between(text: string, name: string, content: string): string {
  const marks = new RegExp(`(<!-- ${name}:begin -->\\n)[\\s\\S]*?(<!-- ${name}:end -->)`)
  return text.replace(marks, (_all, begin: string, end: string) => `${begin}${content}\n${end}`)
}
