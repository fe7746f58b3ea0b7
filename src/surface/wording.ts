import { stepNames } from '../steps/index.ts'

/**
 * How a surface names what a person may do there. Texts of crosscloud name it as the command line
 * does, between backquotes: `--lock-wait 10m`, `crosscloud deploy --env test`. Every other surface
 * has its own words for these; all else between backquotes stays as it is.
 */
export interface Wording {
  /** An input of the step that runs; the value is empty where any will do. */
  input(name: string, value: string): string
  /** A step with the inputs it should get. */
  step(name: string, inputs: readonly Given[]): string
  /** What only the command line has. */
  command(line: string): string
  /** Where the inputs of a step are explained. */
  help(step: string): string
}

type Given = readonly [name: string, value: string]

/** The same text in the words of a surface. */
export function inWords(text: string, wording: Wording): string {
  return text.replace(/`(--[a-z][^`\n]*|crosscloud [a-z][^`\n]*)`/g, (_span, line: string) => {
    if (line.startsWith('--')) return wordInput(line, wording)
    const [, name = '', ...words] = line.split(/\s+/)
    if (words[0] === '--help') return wording.help(name)
    return stepNames.includes(name) ? wording.step(name, readGiven(words)) : wording.command(line)
  })
}

function wordInput(line: string, wording: Wording): string {
  const [[name, value] = ['', '']] = readGiven(line.split(/\s+/))
  return wording.input(name, value)
}

/** `webapi@1.4.2 --to staging --no-deploy` as pairs; the first word without a flag is the release. */
function readGiven(words: readonly string[]): Given[] {
  const given: [string, string][] = []
  for (const word of words) {
    const [, no, name] = /^--(no-)?(.+)$/.exec(word) ?? []
    const last = given.at(-1)
    if (name !== undefined) given.push([name, no ? 'false' : ''])
    else if (last === undefined) given.push(['release', word])
    else last[1] = last[1] ? `${last[1]} ${word}` : word
  }
  return given
}

const pair = ([name, value]: Given) => (value ? `\`${name}: ${value}\`` : `\`${name}\``)
const onCommandLine = (line: string) => `\`${line}\` on the command line`
const page = () => 'docs/steps.md'

/** A workflow names inputs under `with:`, and runs steps by `uses:`. */
export const actionWording: Wording = {
  input: (name, value) => `the input ${pair([name, value])}`,
  step: (name, inputs) => {
    const given = inputs.map(pair).join(', ')
    return `the action ${name}${given && ` with ${given}`}`
  },
  command: onCommandLine,
  help: page,
}

/** What the jobs of our templates are called, where a person clicks them. */
const gitlabJobs: Readonly<Record<string, string>> = {
  promote: 'promote-to-',
  approve: 'gate-',
  deploy: 'deploy-',
  'verify-md5': 'verify-',
  rollback: 'rollback-',
}

/** A job of GitLab: inputs of the template it was made from, and jobs to click. */
export const gitlabWording: Wording = {
  input: (name, value) =>
    // The only flag in our texts that no template has.
    name === 'settings'
      ? `\`--settings ${value}\` in a job of your own`
      : `the input ${pair([name, value])}`,
  step: (name, inputs) => {
    const place = inputs.find(([input]) => input === 'env' || input === 'to')?.[1]
    const prefix = gitlabJobs[name]
    return `the job ${prefix && place ? prefix + place : name}`
  },
  command: onCommandLine,
  help: page,
}

const camel = (name: string) =>
  name.replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase())

/** The library's functions and their named parameters. */
export const jenkinsWording: Wording = {
  input: (name, value) => `the parameter \`${camel(name)}${value && `: ${groovy(value)}`}\``,
  step: (name, inputs) => {
    const given = inputs.map(([input, value]) => `${camel(input)}: ${groovy(value || 'true')}`)
    return `\`${camel(`crosscloud-${name}`)}(${given.join(', ')})\``
  },
  command: onCommandLine,
  help: page,
}

function groovy(value: string): string {
  if (/^(?:true|false|\d+)$/.test(value)) return value
  return `'${value.replace(/^"|"$/g, '')}'`
}
