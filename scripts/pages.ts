import { stringify } from 'yaml'
import { z } from 'zod'
import { agentSchema } from '../src/agent/settings.ts'
import { serverSchema } from '../src/server/settings/settings.ts'
import { settingsSchema } from '../src/settings.ts'
import { dotenvName, fieldsOf, type InputField } from '../src/steps/fields.ts'
import { kebab, variableName } from '../src/steps/inputs.ts'
import type { Step } from '../src/steps/step.ts'

export function yaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, singleQuote: true })
}

export const generatedFrom = (source: string) =>
  `# Generated from ${source} by \`npm run generate\`. Do not edit.\n`

/** What an input means, with its default. */
export function meaningOf({ description, default: value }: InputField): string {
  if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) {
    return description
  }
  return `${description} (default: ${Array.isArray(value) ? value.join(' ') : String(value)})`
}

export function row(...cells: string[]): string {
  return `| ${cells.map(cellText).join(' | ')} |`
}

/** A bar would end the cell, even inside code; `<` would begin a tag, but for code. */
function cellText(text: string): string {
  return text
    .replaceAll('|', '\\|')
    .split('`')
    .map((part, index) => (index % 2 === 0 ? part.replaceAll('<', '&lt;') : part))
    .join('`')
}

export function stepsTable(steps: readonly Step[]): string {
  return [
    row('step', 'what it does'),
    row('---', '---'),
    ...steps.map(({ name, summary }) => row(`[${name}](docs/steps.md#${name})`, summary)),
  ].join('\n')
}

export function stepsPage(steps: readonly Step[]): string {
  const parts = steps.map((step) => {
    const inputs = fieldsOf(step.inputs).map((field) =>
      row(`\`--${kebab(field.name)}\``, `\`${variableName(field.name)}\``, meaningOf(field)),
    )
    const outputs = fieldsOf(step.outputs, 'output').map((field) => {
      const variable = dotenvName(field)
      return row(`\`${field.name}\``, variable ? `\`${variable}\`` : '', field.description)
    })
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

Inputs come from flags, then \`CROSSCLOUD_INPUTS\`, then a variable for each, then crosscloud.yml. An
empty variable counts as not set. \`CROSSCLOUD_INPUTS\` is one JSON object of inputs by their names,
\`lockWait\` for \`--lock-wait\`: \`{"env": "test", "force": true, "args": ["-Pfast", "-o"]}\`. It may be
pure ASCII (\`\\u00fc\`), and nothing in it is expanded; unknown names in it are errors.

In actions and templates, inputs have the flags' names without \`--\`; so have an action's outputs.
Yes and no are \`true\` and \`false\`, in any case. Every action also takes \`working-directory\` and
\`settings\`, and reads the variables that \`env:\` sets ([docs/github.md](github.md)).
What is in dotenv is a variable of the jobs after it, with \`--dotenv FILE\`; lists are in \`--json\` only.

\`--dotenv FILE\`, \`--junit FILE\` and, with \`--plan\`, \`--markdown FILE\` ([docs/plan.md](plan.md)) replace
a file or a link at that path, and nothing else; its folder must be there. Inside the working folder a linked folder on the way is followed only as far as it
stays inside. An absolute path to another place is taken as it is.

In a GitLab template an input is taken as it is: \`$NAME\` in it is not replaced. What a job in
\`needs\` put out goes before an input of the same name; write
\`needs: [{ job: x, artifacts: false }]\` to take nothing from it.

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
  items?: JsonSchema
}

/** A settings file that people write: its schema, and the page that explains every setting. */
export interface SettingsFile {
  name: string
  source: string
  schema: z.ZodType
  /** What the page says before the table. */
  intro: string
}

export const settingsFiles: Readonly<Record<'settings' | 'server' | 'agent', SettingsFile>> = {
  settings: {
    name: 'crosscloud.yml',
    source: 'src/settings.ts',
    schema: settingsSchema,
    intro: `[The example's file](../examples/webapi/crosscloud.yml) is commented line by line. Editors that know
JSON Schema can use [crosscloud.schema.json](crosscloud.schema.json). Unknown settings are errors.
Paths start from the folder of the file.

\`\${NAME}\` is a variable of the process's environment, \`\${NAME:-text}\` the text where it is unset or
empty. It is looked up when the setting it stands in is used; \`crosscloud config check\` lists every
variable that is not set.

What a variable brings is a secret, whatever it is called: where it would be printed there is \`***\`, in
logs, errors, tables and reports. Values below four characters are not masked anywhere; in what programs
read (\`--json\`, \`config export\`, the name of a JUnit report, the outputs of an action) values below
eight stay, as they are words of the document. Shown by their nature are \`app\`, \`war.path\`,
\`image.base\` and what \`image\` says to docker, \`gitlab.url\`, \`gitlab.project\`, \`identity.issuer\`, and of
an environment \`image\`, \`url\` and \`hosts\`: there only a variable called like a secret (\`PASS\`, \`SECRET\`, \`TOKEN\`, \`KEY\`,
\`CREDENTIAL\`) is one.`,
  },
  server: {
    name: 'crosscloud.server.yml',
    source: 'src/server/settings/settings.ts',
    schema: serverSchema,
    intro: `What the webhook server listens to and does; [webhooks.md](webhooks.md) has files to start from.
Editors that know JSON Schema can use
[crosscloud.server.schema.json](crosscloud.server.schema.json). Unknown settings are errors.
\`\${NAME}\` is replaced by a variable of the process's environment.`,
  },
  agent: {
    name: 'crosscloud.agent.yml',
    source: 'src/agent/settings.ts',
    schema: agentSchema,
    intro: `What an agent believes and may do; [agents.md](agents.md) has a file to start from. Editors that know
JSON Schema can use [crosscloud.agent.schema.json](crosscloud.agent.schema.json). Unknown settings are errors.
\`\${NAME}\` is replaced by a variable of the process's environment.`,
  },
}

export function settingsJson({ schema }: SettingsFile): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema
}

export function settingsPage(file: SettingsFile): string {
  const rows = settingRows(settingsJson(file), '')
  return `<!-- Generated from ${file.source} by \`npm run generate\`. Do not edit. -->
# ${file.name}

${file.intro}

${[row('setting', 'meaning', 'default'), row('---', '---', '---'), ...rows].join('\n')}\n`
}

function settingRows(schema: JsonSchema, path: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, part]) => {
    const full = path ? `${path}.${name}` : name
    const { description, default: value, enum: choices } = part
    const below = rowsBelow(part, full)
    if (description === undefined && below.length > 0) return below
    const meaning = [description, choices?.join(', ')].filter(Boolean).join(': ')
    const required = schema.required?.includes(name) ? 'required' : ''
    return [row(`\`${full}\``, meaning, value === undefined ? required : shown(value)), ...below]
  })
}

function rowsBelow(part: JsonSchema, path: string): string[] {
  // An environment's container has the settings of `container`; they are explained there.
  if (path.endsWith('>.container')) return []
  // So are the claims of a job in a test: as those of a grant.
  if (path === 'policy.tests[].job') return []
  const { additionalProperties: named, items } = part
  if (items?.properties) return settingRows(items, `${path}[]`)
  if (typeof named !== 'object') return settingRows(objectOf(part), path)
  return settingRows(objectOf(named), `${path}.<name>`)
}

/** Where a text or an object may stand, the object has more to explain. */
const objectOf = (part: JsonSchema): JsonSchema =>
  part.anyOf?.find(({ properties }) => properties) ?? part

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return `\`${text.replaceAll('\n', '\\n')}\``
}
