import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { TOOLS_FOLDER, type Tool } from './tools.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const HARNESS = join(ROOT, 'test/engines/jenkins')
export const LIBRARY = join(ROOT, 'pipeline-templates/jenkins')

/** Jenkins' transformation of Groovy, what it is made with, and its sandbox. */
const artifacts = [
  'com.cloudbees:groovy-cps:1.31',
  'org.codehaus.groovy:groovy-all:2.4.21',
  'com.google.guava:guava:11.0.1',
  'org.kohsuke:groovy-sandbox:1.19',
] as const

const FOLDER = join(TOOLS_FOLDER, 'jenkins')
const jars = artifacts.map((artifact) => {
  const [, name, version] = artifact.split(':')
  return join(FOLDER, `${name}-${version}.jar`)
})

/** The Groovy of 2.4 looks into Java's own classes, and Jenkins writes them out. */
const JAVA = [
  ...['lang', 'lang.reflect', 'util', 'io', 'net'].map(
    (name) => `--add-opens=java.base/java.${name}=ALL-UNNAMED`,
  ),
  '-XX:TieredStopAtLevel=1',
  '-Dfile.encoding=UTF-8',
]

const has = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

async function lacking(): Promise<string[]> {
  const found = await Promise.all(jars.map(has))
  return artifacts.filter((_, index) => !found[index])
}

export const jenkinsEngine: Tool = {
  name: "Jenkins' CPS interpreter",
  async prepare() {
    const missing = await lacking()
    if (missing.length === 0) return
    await mkdir(FOLDER, { recursive: true })
    const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy'
    const repository = `-Dmaven.repo.local=${join(TOOLS_FOLDER, 'maven')}`
    for (const artifact of missing) {
      const what = [`-Dartifact=${artifact}`, `-DoutputDirectory=${FOLDER}`]
      await run('mvn', ['-B', '-q', plugin, repository, ...what], { cwd: FOLDER })
    }
  },
}

/** Why builds cannot run here; false when they can. */
export async function noJenkins(): Promise<string | false> {
  const program = missingProgram('java')
  if (program) return program
  const [missing] = await lacking()
  return missing !== undefined && `needs ${missing} of Maven Central (npm run test:engines gets it)`
}

/** A build, and the Jenkins around it. */
export interface Build {
  name: string
  /** The Jenkinsfile's text. */
  script: string
  number?: number
  /** What Groovy's `env` knows. */
  environment?: Record<string, string>
  /** Variables of the agent's machine; PATH is that of the tests where none is given. */
  agent?: Record<string, string>
  /** Whether the agent has no UTF-8 locale. */
  ascii?: boolean
  /** By image: the variables in its containers. */
  images?: Record<string, Record<string, string>>
  /** By id; what is bound to two variables is `user:password`. */
  credentials?: Record<string, string>
  /** What people answer to `input`, in order. */
  answers?: unknown[]
  /** By ordinal: the newest build that has passed the milestone. */
  milestones?: Record<string, number>
  /** The stage of a declarative pipeline that a person restarts from. */
  restartFrom?: string
  /** What `checkout` answers. */
  checkout?: Record<string, string>
  /** Whether library and pipeline run in the sandbox. */
  sandbox?: boolean
  workspace: string
}

export interface Result {
  name: string
  answer?: unknown
  error?: string
  /** The class of what was thrown. */
  thrown?: string
  /** Steps in their order, each with what it was given. */
  calls: [string, unknown][]
  build: { result: string | null; description: string | null }
  /** How often Jenkins was stopped and started. */
  restarts: number
  refused: string[] | null
  /** What the shells printed. */
  console: string
}

/** Runs builds one after another, each with a restart of Jenkins at every step. */
export async function runBuilds(
  t: Test,
  builds: readonly Build[],
  library = LIBRARY,
): Promise<Map<string, Result>> {
  const folder = await temporaryFolder(t)
  const classes = join(folder, 'classes')
  await mkdir(classes)
  const sources = (await readdir(HARNESS)).filter((name) => name.endsWith('.groovy'))
  const path = jars.join(':')
  const compiler = ['org.codehaus.groovy.tools.FileSystemCompiler', '-cp', path, '-d', classes]
  await run('java', [...JAVA, '-cp', path, ...compiler, ...sources], { cwd: HARNESS })
  const [input, output] = [join(folder, 'builds.json'), join(folder, 'results.json')]
  const consoleOf = (index: number) => join(folder, `console-${index}.log`)
  const given = builds.map((build, index) => ({ agent: {}, ...build, console: consoleOf(index) }))
  await writeFile(input, JSON.stringify(given))
  const program = ['run', HARNESS, library, input, output]
  await run('java', [...JAVA, '-cp', `${path}:${classes}`, ...program], { cwd: folder })
  const results = JSON.parse(await readFile(output, 'utf8')) as Result[]
  const printed = results.map((_, index) => readFile(consoleOf(index), 'utf8').catch(() => ''))
  const consoles = await Promise.all(printed)
  return new Map(
    results.map((result, index) => [result.name, { ...result, console: consoles[index] ?? '' }]),
  )
}
