import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { errorCodeOf } from '../../../src/core/errors.ts'
import { run } from '../../../src/core/process/process.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const LOCAL = join(ROOT, 'node_modules/gitlab-ci-local/dist/index.js')

export const template = (name: string) => join(ROOT, 'pipeline-templates', `${name}.yml`)

/** One include of ours, and what it is given. */
export type Include = readonly [name: string, inputs: Record<string, unknown>]

/**
 * Makes a folder a Git repository whose pipeline includes our templates as a team's would, setup.yml
 * first, and whatever else stands in `before.yml`.
 */
export async function makeRepository(
  folder: string,
  options: {
    setup?: Record<string, unknown>
    includes: readonly Include[]
    files?: Record<string, string>
  },
): Promise<void> {
  const { cp } = await import('node:fs/promises')
  const place = 'templates-of-crosscloud'
  await cp(join(ROOT, 'pipeline-templates'), join(folder, place), { recursive: true })
  // GitLab takes `tags: []`, its published schema does not; so each sample names a runner.
  const setup: Include = ['setup', { tags: ['docker'], ...options.setup }]
  const includes = [setup, ...options.includes].map(([name, inputs]) => ({
    local: `${place}/${name}.yml`,
    inputs,
  }))
  const files = {
    '.gitlab-ci.yml': stringify({
      include: [...includes, ...(options.files?.['before.yml'] ? [{ local: 'before.yml' }] : [])],
    }),
    '.gitignore': '.crosscloud/\ntarget/\n.gitlab-ci-local/\ncrosscloud.env\ncrosscloud-*.xml\n',
    ...options.files,
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=dev', '-c', 'user.email=dev@example.com', ...args], {
      cwd: folder,
    })
  await git('init', '--quiet', '--initial-branch=main')
  await git('remote', 'add', 'origin', 'https://gitlab.example.com/team/webapi.git')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'A sample application')
}

export interface PipelineRun {
  ok: boolean
  output: string
  stdout: string
  /** Those that ran, in their order: `{ 'build-war': 'PASS', 'bake-image': 'FAIL' }`. */
  jobs: Record<string, string>
}

/**
 * Runs gitlab-ci-local in a repository; its shell executor runs the jobs in the folder itself. `enter`
 * are the words before a command that make it run on another machine.
 */
export async function runGitlab(
  folder: string,
  args: readonly string[],
  env: Record<string, string | undefined> = {},
  enter: readonly string[] = [],
): Promise<PipelineRun> {
  const base = ['--force-shell-executor', '--no-color', '--home', join(folder, '.gitlab-ci-local')]
  // It costs half of a job's time: whoever lists the jobs has the schema checked.
  if (!args.includes('--list-json')) base.push('--no-json-schema-validation')
  try {
    const [command = '', ...words] = [...enter, process.execPath, LOCAL, ...base, ...args]
    const { stdout, stderr } = await run(command, words, {
      cwd: folder,
      env: { ...env, FORCE_COLOR: undefined },
    })
    return { ok: true, output: `${stdout}\n${stderr}`, stdout, jobs: jobStates(stdout) }
  } catch (error) {
    if (errorCodeOf(error) === 'NOT_FOUND') throw error
    const output = (error as Error).message
    return { ok: false, output, stdout: '', jobs: jobStates(output) }
  }
}

/** The table at the end: ` PASS  build-war`. */
function jobStates(output: string): Record<string, string> {
  const rows = output.matchAll(/^ +(PASS|WARN|FAIL) +(\S+) *$/gm)
  return Object.fromEntries([...rows].map(([, state = '', job = '']) => [job, state]))
}
