import { chmod, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { minimatch } from 'minimatch'
import { run } from '../../src/core/process/process.ts'
import type { Job } from '../support/ci/gitlab-pipeline.ts'
import { runScript, type Shell, shells } from '../support/ci/gitlab-script.ts'

// No GitLab Runner can be had from the registries; this does what a runner does around a job's script.

export interface RunnerOptions {
  /** The repository that is fetched, and everything the runner keeps. */
  repository: string
  folder: string
  jobs: Readonly<Record<string, Job>>
  /** The project's own variables and the runner's environment. */
  variables: Record<string, string>
  shell?: Shell
  /** Runs scripts as another user than the one who owns the checkout, with umask 0: containers. */
  uid?: number
}

export interface JobRun {
  code: number
  output: string
  /** What GitLab read from the dotenv report; undefined where there is none. */
  outputs?: Record<string, string>
  junit?: string
}

export interface Runner {
  /** With a blank in it, as a group's name may have. */
  checkout: string
  run(job: string, variables?: Record<string, string>): Promise<JobRun>
}

export function createRunner(options: RunnerOptions): Runner {
  const { folder, jobs, variables, uid, shell = shells[0] } = options
  const checkout = join(folder, 'builds', 'a team', 'webapi')
  const outputs = new Map<string, Record<string, string>>()
  const kept = (...path: string[]) => join(folder, ...path)
  return {
    checkout,
    async run(name, clicked = {}) {
      const job = jobs[name]
      if (!job || !shell) throw new Error(`there is no job ${name}`)
      const commit = await fetchSources(options.repository, checkout, uid)
      const { cache, artifacts = {} } = job
      if (cache) await take(kept('cache', cache.key), checkout)
      const needs = (job.needs ?? []).map((need) => (typeof need === 'string' ? need : need.job))
      for (const need of needs) await take(kept('artifacts', need), checkout)
      if (uid !== undefined) await run('chmod', ['-R', 'a+rwX', checkout])
      const env = {
        ...predefined(name, checkout, commit),
        ...ownVariables(job, { CI_PROJECT_DIR: checkout, CI_JOB_URL: 'https://gitlab/jobs/1' }),
        ...Object.assign({}, ...needs.map((need) => outputs.get(need) ?? {})),
        ...variables,
        ...clicked,
      }
      const lines = [...(job.before_script ?? []), ...job.script]
      const umask = uid === undefined ? [] : ['umask 0000']
      const done = await runScript(shell, [...umask, ...lines], {
        cwd: checkout,
        env,
        ...(uid !== undefined && { uid }),
      })
      const result: JobRun = done
      if (done.code === 0 && cache) await hand(checkout, kept('cache', cache.key), cache.paths)
      if (done.code === 0) await hand(checkout, kept('artifacts', name), artifacts.paths ?? [])
      if (done.code !== 0 && artifacts.when !== 'always') return result
      const report = async (path: string | undefined) =>
        path && (await readFile(join(checkout, path), 'utf8').catch(() => undefined))
      const [dotenv, junit] = [artifacts.reports?.dotenv, artifacts.reports?.junit]
      const text = await report(dotenv)
      if (dotenv && text === undefined) result.output += `WARNING: ${dotenv}: no matching files\n`
      if (text !== undefined) result.outputs = readDotenv(text)
      if (result.outputs) outputs.set(name, result.outputs)
      const found = await report(junit)
      return found === undefined ? result : { ...result, junit: found }
    },
  }
}

/** The checkout of before is used again, emptied of everything that is not committed. */
async function fetchSources(repository: string, checkout: string, uid?: number): Promise<string> {
  await mkdir(checkout, { recursive: true })
  const git = (...args: string[]) =>
    run('git', ['-c', 'safe.directory=*', ...args], { cwd: checkout })
  await git('init', '--quiet')
  await git('fetch', '--quiet', '--depth', '20', '--force', repository, 'main')
  await git('checkout', '--quiet', '--force', '--detach', 'FETCH_HEAD')
  await git('clean', '-ffdx', '--quiet')
  if (uid !== undefined) for (const path of ancestors(checkout)) await chmod(path, 0o755)
  return (await git('rev-parse', 'HEAD')).stdout.trim()
}

const ancestors = (path: string) => [dirname(path), dirname(dirname(path))]

function predefined(name: string, checkout: string, commit: string): Record<string, string> {
  return {
    // What the shell executor says; container executors say CI_DISPOSABLE_ENVIRONMENT.
    CI_SHARED_ENVIRONMENT: 'true',
    CI: 'true',
    GITLAB_CI: 'true',
    CI_JOB_NAME: name,
    CI_PROJECT_DIR: checkout,
    CI_SERVER_HOST: 'gitlab.example.com',
    CI_PROJECT_ID: '42',
    CI_COMMIT_SHA: commit,
    CI_COMMIT_REF_NAME: 'main',
    CI_COMMIT_BRANCH: 'main',
    GITLAB_USER_LOGIN: 'dev-zhang',
    CI_COMMIT_AUTHOR: 'Zhang <zhang@example.com>',
    CI_COMMIT_TIMESTAMP: '2026-01-02T03:04:05Z',
    CI_PIPELINE_URL: 'https://gitlab.example.com/team/webapi/-/pipelines/7',
  }
}

/** `$NAME` in a job's variables is replaced, unless it says `expand: false`. */
function ownVariables({ variables = {} }: Job, known: Record<string, string>) {
  const expand = (text: string) =>
    text.replace(/\$(\w+)|\$\{(\w+)\}/g, (_all, a, b) => known[a ?? b] ?? '')
  const entries = Object.entries(variables).map(([name, value]) => {
    if (typeof value === 'string') return [name, expand(value)]
    return [name, value.expand === false ? value.value : expand(value.value)]
  })
  return Object.fromEntries(entries) as Record<string, string>
}

async function take(from: string, checkout: string): Promise<void> {
  await cp(from, checkout, { recursive: true, verbatimSymlinks: true }).catch(() => {})
}

/** Files that match, kept under their own paths. */
async function hand(checkout: string, to: string, patterns: readonly string[]): Promise<void> {
  await rm(to, { recursive: true, force: true })
  if (patterns.length === 0) return
  const wanted = patterns.map((pattern) => (pattern.endsWith('/') ? `${pattern}**` : pattern))
  for (const path of await readdir(checkout, { recursive: true })) {
    if (
      path.startsWith('.git/') ||
      !wanted.some((pattern) => minimatch(path, pattern, { dot: true }))
    ) {
      continue
    }
    if (!(await stat(join(checkout, path))).isFile()) continue
    await mkdir(dirname(join(to, path)), { recursive: true })
    await writeFile(join(to, path), await readFile(join(checkout, path)))
  }
}

/** As GitLab's server does; 20 is what a server allows by itself until somebody changes it. */
export function readDotenv(text: string): Record<string, string> {
  if (Buffer.byteLength(text) > 5 * 1024) throw new Error('the dotenv report is over 5 KB')
  const lines = text.split('\n').filter((line) => line.trim())
  if (lines.length > 20) throw new Error(`the dotenv report has ${lines.length} variables`)
  const pairs = lines.map((line) => {
    const [, name = '', value = ''] = /^(.*?)=(.*)$/.exec(line) ?? []
    if (!/^[A-Za-z_]\w*$/.test(name.trim())) throw new Error(`no dotenv line: ${line}`)
    return [name.trim(), value.trim()]
  })
  return Object.fromEntries(pairs) as Record<string, string>
}
