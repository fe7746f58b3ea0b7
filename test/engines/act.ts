import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import type { Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { TOOLS_FOLDER, type Tool } from './tools.ts'

const ACT_VERSION = 'v0.2.89'
/** What `runs.using: node24` means; npm carries it. */
const NODE_VERSION = '24.9.0'

const ACT = join(TOOLS_FOLDER, `act-${ACT_VERSION}`, 'act')
const NODE_PREFIX = join(TOOLS_FOLDER, `node-${NODE_VERSION}`)
/** The Node that actions run on. */
export const NODE_24 = join(NODE_PREFIX, 'node_modules', 'node', 'bin', 'node')

export const actTools: readonly Tool[] = [
  {
    name: 'act',
    async prepare() {
      if (existsSync(ACT)) return
      const env = { GOBIN: dirname(ACT), GOFLAGS: '-mod=mod' }
      await run('go', ['install', `github.com/nektos/act@${ACT_VERSION}`], { env })
    },
  },
  {
    name: 'Node 24',
    async prepare() {
      if (existsSync(NODE_24)) return
      await mkdir(NODE_PREFIX, { recursive: true })
      const install = ['install', '--no-save', '--no-package-lock', '--no-audit', '--no-fund']
      await run('npm', [...install, '--prefix', NODE_PREFIX, `node@${NODE_VERSION}`])
    },
  },
]

/** Why act cannot be used here. */
export function noAct(): string | false {
  if (!existsSync(ACT)) return 'act could not be built: it needs Go'
  return existsSync(NODE_24) ? false : 'Node 24 could not be installed from npm'
}

export interface Workflow {
  /** `push`, `pull_request`, `workflow_dispatch`. */
  event: string
  /** Its text, as it stands in a document. */
  text: string
  actor?: string
  secrets?: Record<string, string>
  inputs?: Record<string, string>
  env?: Record<string, string>
}

export interface WorkflowRun {
  ok: boolean
  output: string
}

export interface Runner {
  /** What stands for `~` there. */
  home: string
  run(project: string, workflow: Workflow): Promise<WorkflowRun>
}

/**
 * act checks the project out by itself, but for a ref it wants GitHub's own action, which cannot be
 * had here. This one does that much of it.
 */
const CHECKOUT_OF_REF = `name: checkout
inputs: { ref: { required: true } }
runs:
  using: composite
  steps:
    - run: git init --quiet && git fetch --quiet "$CHECKOUT_SOURCE" "$REF" && git checkout --quiet FETCH_HEAD
      shell: bash
      env: { REF: '\${{ inputs.ref }}' }
`

async function makeCheckout(home: string): Promise<string> {
  const folder = join(home, 'checkout')
  await mkdir(folder)
  await writeFile(join(folder, 'action.yml'), CHECKOUT_OF_REF)
  return folder
}

/** A runner whose jobs run on this machine, one folder each; `uses: platform/crosscloud` is `crosscloud`. */
export async function startRunner(
  t: Pick<Test, 'teardown'>,
  crosscloud: { folder: string; refs: readonly string[] },
): Promise<Runner> {
  const home = await mkdtemp(join(tmpdir(), 'act-'))
  t.teardown(() => rm(home, { recursive: true, force: true }))
  await writeFile(join(home, '.actrc'), '')
  const local = crosscloud.refs.map((ref) => `platform/crosscloud@${ref}=${crosscloud.folder}`)
  local.push(`actions/checkout@v5=${await makeCheckout(home)}`)
  return {
    home,
    async run(project, { event, text, actor = 'dev-zhang', secrets = {}, inputs = {}, env = {} }) {
      const folder = await mkdtemp(join(home, 'workflow-'))
      const file = join(folder, 'workflow.yml')
      await writeFile(file, text)
      const each = (flag: string, pairs: Record<string, string>) =>
        Object.entries(pairs).flatMap(([name, value]) => [flag, `${name}=${value}`])
      const args = [
        ...[event, '--workflows', file, '--platform', 'ubuntu-latest=-self-hosted'],
        ...local.flatMap((repository) => ['--local-repository', repository]),
        ...['--actor', actor, '--no-cache-server'],
        ...each('--secret', secrets),
        ...each('--input', inputs),
        ...each('--env', { CHECKOUT_SOURCE: project, ...env }),
      ]
      const ended = await execa(ACT, args, {
        cwd: project,
        extendEnv: false,
        env: { PATH: `${dirname(NODE_24)}:${process.env.PATH}`, HOME: home, XDG_CONFIG_HOME: home },
        all: true,
        reject: false,
        stdin: 'ignore',
      })
      return { ok: ended.exitCode === 0, output: ended.all }
    },
  }
}

/** The project as somebody pushed it. */
export async function commitProject(project: string): Promise<void> {
  const git = (...args: string[]) => run('git', args, { cwd: project })
  await git('init', '--quiet', '--initial-branch', 'main')
  await git('config', 'user.name', 'dev-zhang')
  await git('config', 'user.email', 'zhang@example.com')
  await git('remote', 'add', 'origin', 'https://github.com/team/webapi.git')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'First')
}
