import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Scalar, YAMLSeq } from 'yaml'
import { fieldsOf, type InputField } from '../src/steps/fields.ts'
import { kebab, remoteInputs, usesServer, variableName } from '../src/steps/inputs.ts'
import type { Step, StepCi } from '../src/steps/step.ts'
import { generatedFrom, meaningOf, yaml } from './pages.ts'

/** What every job of every template extends. */
const SETUP = '.crosscloud'
const NEEDS_SETUP = '# setup.yml must be included, too: it says how a job gets crosscloud.\n'
const START = 'pipeline-templates/start.sh'

/** `!reference [.crosscloud, script]` */
function setupScript(): Scalar | YAMLSeq {
  const reference = new YAMLSeq<Scalar>()
  reference.tag = '!reference'
  reference.flow = true
  reference.items = [new Scalar(SETUP), new Scalar('script')]
  return reference
}

/** One word that is a name or an absolute path, and more words; no shell reads anything into them. */
const COMMAND = '^((/[A-Za-z0-9_.+@/-]+|[A-Za-z0-9_.+-]+)( [A-Za-z0-9_.,:=+@/-]+)*)?$'
const PACKAGE = '^((https:/)?/[A-Za-z0-9_.,:=+@%~?&/-]+)?$'
const SHA512 = '^([0-9a-f]{128})?$'

/**
 * How every job gets crosscloud. What the include gives is part of the script: a variable could be
 * set by whoever runs a pipeline.
 */
export function gitlabSetup(root: string): string {
  const inputs = {
    command: {
      default: '',
      regex: COMMAND,
      description:
        'Command that starts crosscloud, split at spaces; default: crosscloud on the PATH',
    },
    package: {
      default: '',
      regex: PACKAGE,
      description:
        'Where neither is: the tarball of crosscloud, an https:// address or an absolute path',
    },
    sha512: {
      default: '',
      regex: SHA512,
      description: "The tarball's SHA-512, 128 hex digits; it is checked each time",
    },
    'job-image': {
      default: 'node:24-bookworm',
      description: 'Image the jobs run in, with Node 20 or newer; best one that has crosscloud',
    },
    tags: { type: 'array', default: [], description: 'Tags of the runners that may take the jobs' },
  }
  const job = {
    image: input('job-image'),
    tags: input('tags'),
    // 75: the registry, the database or a host did not answer.
    retry: { max: 2, exit_codes: 75 },
    script: [
      [
        '# How this job gets crosscloud',
        // What an older job or a commit left there must not be taken for this job's.
        `rm -rf ${reports.join(' ')}`,
        ...['command', 'package', 'sha512'].map((name) => `crosscloud_${name}='${input(name)}'`),
        readFileSync(join(root, START), 'utf8'),
      ].join('\n'),
    ],
  }
  return [
    generatedFrom(`${START} and scripts/gitlab.ts`),
    '# How the jobs of all other templates get crosscloud, and where they run. Include it once, first.\n',
    `${yaml({ spec: { inputs } })}---\n`,
    yaml({ [SETUP]: job }),
  ].join('')
}

/** The files that jobs hand to GitLab. */
const reports = ['crosscloud.env', 'crosscloud-verify.xml', 'crosscloud-config-*.xml']

const tiers = ['development', 'testing', 'staging', 'production', 'other']

const input = (name: string) => `$[[ inputs.${name} ]]`

/** A template with one job, which runs one step. */
export function gitlabTemplate(step: Step): string {
  // GitLab records each job of a template as a deployment, which a plan is not (docs/plan.md).
  const fields = fieldsOf(step.inputs).filter(({ name }) => name !== 'plan')
  const { environment, identity, artifacts } = step.ci ?? {}
  const environmentInput = environment && (step.environmentInput ?? 'env')
  const own = fields.map((field): [string, object] => {
    const name = kebab(field.name)
    // What names the environment's page must be there when the pipeline is made.
    return [
      name,
      name === environmentInput ? { description: field.description } : templateInput(field),
    ]
  })
  const asksServer = usesServer(step)
  // Steps that change an environment run one at a time; the others record no deployment on its page.
  const changes = environment === 'change'
  const inputs = {
    ...jobInputs(step),
    ...(changes && {
      'environment-tier': { description: "The environment's tier", options: tiers },
      'environment-url': {
        default: '$CROSSCLOUD_URL',
        description: 'Where people reach it; default: url in crosscloud.yml',
      },
    }),
    ...(identity && {
      audience: {
        default: 'crosscloud',
        description:
          'Audience of the signed ID token; the same as under identity in crosscloud.yml',
      },
    }),
    ...(asksServer && {
      server: {
        default: '',
        description:
          remoteInputs(step).length > 0
            ? 'Address of the server that runs the step, https://…; the job needs no secret then. Default: the job runs it'
            : 'Address of the server that has the ledger, https://…; the job needs no password of it then. Default: the ledger of crosscloud.yml',
      },
    }),
    ...Object.fromEntries(own),
  }
  const placed = asksServer ? ['settings', 'server'] : ['settings']
  const variables = Object.fromEntries(
    [...placed, ...fields.map(({ name }) => name)].map((name) => [
      variableName(name),
      { value: input(kebab(name)), expand: false },
    ]),
  )
  const job = {
    extends: SETUP,
    stage: input('stage'),
    needs: input('needs'),
    rules: input('rules'),
    variables,
    ...((identity || asksServer) && {
      id_tokens: {
        ...(identity && { CROSSCLOUD_ID_TOKEN: { aud: input('audience') } }),
        // Of its own: what is sent to the server proves nothing to anybody else.
        ...(asksServer && { CROSSCLOUD_SERVER_TOKEN: { aud: input('server') } }),
      },
    }),
    ...(environmentInput && { environment: environmentOf(environmentInput, environment) }),
    ...(changes && environmentInput && { resource_group: input(environmentInput) }),
    script: [setupScript(), `crosscloud ${step.name} --dotenv crosscloud.env || exit $?`],
    artifacts: {
      ...(artifacts && { paths: artifacts, expire_in: '1 week' }),
      reports: { dotenv: 'crosscloud.env' },
    },
  }
  const notice = generatedFrom(`src/steps/${step.name}.ts`)
  const body = yaml({ [`${input('job-prefix')}${step.name}`]: job })
  return `${notice}${NEEDS_SETUP}${yaml({ spec: { inputs } })}---\n${body}`
}

function environmentOf(name: string, does: StepCi['environment']): object {
  if (does !== 'change') return { name: input(name), action: does }
  return {
    name: input(name),
    url: input('environment-url'),
    deployment_tier: input('environment-tier'),
  }
}

/** The inputs that every template has: when its job runs. */
function jobInputs(step: Step): Record<string, object> {
  return {
    stage: {
      default: step.ci?.environment ? 'deploy' : 'build',
      description: 'Stage of the job',
    },
    'job-prefix': { default: '', description: 'Put before the name of the job' },
    settings: {
      default: '',
      description: 'crosscloud.yml to use, from the top of the checkout; default: the one there',
    },
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
  }
}

/** Always a text, since GitLab's variables are texts; empty means: as crosscloud.yml says. */
function templateInput(field: InputField): object {
  const options = field.type === 'boolean' ? ['true', 'false'] : field.choices
  const more = field.type === 'array' ? '; one a line' : ''
  return {
    default: '',
    description: `${meaningOf(field)}${more}`,
    ...(options && { options: ['', ...options] }),
  }
}
