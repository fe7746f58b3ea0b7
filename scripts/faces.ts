import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { placeInputs } from '../src/actions/inputs.ts'
import { fieldsOf, type InputField } from '../src/steps/fields.ts'
import { loadSteps } from '../src/steps/index.ts'
import { kebab, variableName } from '../src/steps/inputs.ts'
import type { Step } from '../src/steps/step.ts'
import { jenkinsLibrary } from './jenkins.ts'
import {
  type SettingsFile,
  settingsFiles,
  settingsJson,
  settingsPage,
  stepsPage,
  stepsTable,
  told,
} from './pages.ts'

/** The runtime of GitHub's hosted runners (node20 was removed from them in September 2026). */
const RUNTIME = 'node24'
/** The step that is the whole flow: the action at the root. */
const WHOLE_FLOW = 'release'
/** Written by hand; only the version in them is kept up. */
const HAND_WRITTEN = ['release', 'environment', 'review', 'config-check'].map(
  (name) => `pipeline-templates/${name}.yml`,
)

/** Pages with workflows to copy. */
const WORKFLOW_PAGES = ['docs/github.md', 'docs/webhooks.md']

/** Everything that is derived from the steps and the settings: path → text. */
export async function renderFaces(root: string): Promise<Map<string, string>> {
  const steps = await loadSteps()
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const faces = new Map<string, string>()
  for (const step of steps) {
    faces.set(`actions/${step.name}/action.yml`, action(step, `../../dist/${step.name}.cjs`))
    if (step.name === WHOLE_FLOW) faces.set('action.yml', action(step, `dist/${step.name}.cjs`))
    else faces.set(`pipeline-templates/${step.name}.yml`, gitlabTemplate(step, version))
  }
  for (const path of HAND_WRITTEN) {
    const text = readFileSync(join(root, path), 'utf8')
    faces.set(path, text.replace(/(?<=\bcrosscloud@)\d[\w.-]*/g, version))
  }
  for (const [path, text] of jenkinsLibrary(root, steps, version)) faces.set(path, text)
  faces.set('docs/steps.md', stepsPage(steps))
  const { settings, server } = settingsFiles
  const json = (file: SettingsFile) => `${JSON.stringify(settingsJson(file), null, 2)}\n`
  faces.set('docs/settings.md', settingsPage(settings))
  faces.set('docs/crosscloud.schema.json', json(settings))
  faces.set('docs/server-settings.md', settingsPage(server))
  faces.set('docs/crosscloud.server.schema.json', json(server))
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const text = readFileSync(join(root, name), 'utf8')
    faces.set(name, between(withRef(text, version), 'steps', stepsTable(steps)))
  }
  for (const page of WORKFLOW_PAGES) {
    faces.set(page, withRef(readFileSync(join(root, page), 'utf8'), version))
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
  const placed = Object.fromEntries(
    Object.entries(placeInputs).map(([name, description]) => [name, { description }]),
  )
  const outputs = fieldsOf(step.outputs, 'output')
  return (
    notice(step) +
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

/**
 * Steps that belong to an environment's page on GitLab, and the input that names it. Those that
 * change it run one at a time; the others make no deployment record there.
 */
const environments: Record<string, { input: string; action?: 'verify' | 'prepare' }> = {
  approve: { input: 'env', action: 'prepare' },
  deploy: { input: 'env' },
  promote: { input: 'to' },
  rollback: { input: 'env' },
  'verify-md5': { input: 'env', action: 'verify' },
}

/** Steps that ask who does it. */
const signed = new Set(['approve', 'deploy', 'promote', 'rollback'])

const tiers = ['development', 'testing', 'staging', 'production', 'other']

const input = (name: string) => `$[[ inputs.${name} ]]`

function gitlabTemplate(step: Step, version: string): string {
  const fields = fieldsOf(step.inputs)
  const environment = environments[step.name]
  const own = fields.map((field): [string, object] => {
    const name = kebab(field.name)
    // What names the environment's page must be there when the pipeline is made.
    return [
      name,
      name === environment?.input ? { description: field.description } : templateInput(field),
    ]
  })
  const changes = environment && !environment.action
  const inputs = {
    ...jobInputs(step, version),
    ...(changes && {
      'environment-tier': { description: "The environment's tier", options: tiers },
      'environment-url': {
        default: '$CROSSCLOUD_URL',
        description: 'Where people reach it; default: url in crosscloud.yml',
      },
    }),
    ...(signed.has(step.name) && {
      audience: {
        default: 'crosscloud',
        description:
          'Audience of the signed ID token; the same as under identity in crosscloud.yml',
      },
    }),
    ...Object.fromEntries(own),
  }
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
    ...(signed.has(step.name) && {
      id_tokens: { CROSSCLOUD_ID_TOKEN: { aud: input('audience') } },
    }),
    ...(environment && { environment: environmentOf(environment) }),
    ...(changes && { resource_group: input(environment.input) }),
    script: [`$CROSSCLOUD_COMMAND ${step.name} --dotenv crosscloud.env`],
    retry: { max: 2, exit_codes: 75 },
    artifacts: {
      ...(artifacts[step.name] && { paths: artifacts[step.name], expire_in: '1 week' }),
      reports: { dotenv: 'crosscloud.env' },
    },
  }
  const body = yaml({ [`${input('job-prefix')}${step.name}`]: job })
  return `${notice(step)}${yaml({ spec: { inputs } })}---\n${body}`
}

function environmentOf({ input: name, action }: { input: string; action?: string }): object {
  if (action) return { name: input(name), action }
  return {
    name: input(name),
    url: input('environment-url'),
    deployment_tier: input('environment-tier'),
  }
}

/** The inputs that every template has: how and when its job runs. */
function jobInputs(step: Step, version: string): Record<string, object> {
  const image =
    step.name === 'build-war'
      ? { description: 'Image the job runs in, with Node 20 or newer, a JDK and Maven' }
      : { default: 'node:24', description: 'Image the job runs in, with Node 20 or newer' }
  return {
    stage: {
      default: environments[step.name] ? 'deploy' : 'build',
      description: 'Stage of the job',
    },
    'job-prefix': { default: '', description: 'Put before the name of the job' },
    'job-image': image,
    tags: { type: 'array', default: [], description: 'Tags of the runners that may take the job' },
    needs: {
      type: 'array',
      default: [],
      description: 'Jobs it waits for and takes files and values from; none: it starts at once',
    },
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
}

/** What a later job of the same pipeline needs on disk. */
const artifacts: Record<string, string[]> = {
  'build-war': ['**/target/*.war'],
  'bake-image': ['.crosscloud/image/'],
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
