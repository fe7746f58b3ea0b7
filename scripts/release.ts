import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { describe, StepError, toStepError } from '../src/core/errors.ts'
import { run } from '../src/core/process.ts'
import { stepNames } from '../src/steps/index.ts'
import { bundleActions } from './bundle.mjs'
import { renderFaces } from './faces.ts'

// Makes what workflows name after the @: a commit on no branch, with the bundle that the sources
// lack, tagged vX.Y.Z and vX. Run by `npm run release`, in a clean checkout.
const USAGE = `npm run release -- [VERSION] [--dry-run] [--push]
  VERSION    must be package.json's
  --dry-run  say what would be done; build and tag nothing
  --push     push the tags to origin`

interface Plan {
  version: string
  /** v1.4.2 and v1. */
  tags: { exact: string; moving: string }
  /** Folders and files of the sources that go with it. */
  published: string[]
}

interface Manifest {
  version: string
  files: string[]
}

async function readPlan(asked: string | undefined): Promise<Plan> {
  const { version, files } = JSON.parse(await readFile('package.json', 'utf8')) as Manifest
  if (asked !== undefined && asked.replace(/^v/, '') !== version) {
    throw new StepError('INPUT_INVALID', `package.json has version ${version}, not ${asked}`, {
      hint: 'Change it there first, run `npm run generate`, and commit both.',
    })
  }
  const published = files.filter((path) => !/^!?dist\b/.test(path))
  const tags = { exact: `v${version}`, moving: `v${version.split('.')[0]}` }
  return { version, tags, published: ['package.json', ...published] }
}

const git = async (args: string[], env: Record<string, string> = {}) =>
  (await run('git', args, { env })).stdout.trim()

async function requireClean(advice: string): Promise<void> {
  const changed = await git(['status', '--porcelain'])
  if (changed === '') return
  throw new StepError('CONFLICT', `the checkout is not clean:\n${changed}`, { hint: advice })
}

async function requireNewTag({ tags: { exact } }: Plan): Promise<void> {
  const here = await git(['tag', '--list', exact])
  const isRemote = (await git(['remote'])).split('\n').includes('origin')
  const there = isRemote ? await git(['ls-remote', '--tags', 'origin', `refs/tags/${exact}`]) : ''
  if (here === '' && there === '') return
  throw new StepError('CONFLICT', `the tag ${exact} is there already`, {
    hint: 'A version is released once. Give package.json the next one.',
  })
}

/** Nothing of an older bundle may get the tag. */
async function build(): Promise<void> {
  for (const [path, text] of await renderFaces(process.cwd())) {
    if ((await readFile(path, 'utf8').catch(() => '')) === text) continue
    throw new StepError('CONFLICT', `${path} is not what the sources say`, {
      hint: 'Run `npm run generate`, and commit what it writes.',
    })
  }
  for (const path of await bundleFiles()) await rm(path, { recursive: true, force: true })
  await bundleActions(process.cwd(), stepNames)
}

/** What an action loads: the bundle, a line for each step, and etcd's protocol. */
async function bundleFiles(): Promise<string[]> {
  const names = await readdir('dist').catch(() => [])
  return [...names.filter((name) => name.endsWith('.cjs')), 'proto'].map((name) => `dist/${name}`)
}

/** Through an index of its own: neither a branch nor the checkout changes. */
async function commitRelease({ version, published }: Plan): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-release-'))
  const env = { GIT_INDEX_FILE: join(folder, 'index') }
  try {
    await git(['add', '--', ...published], env)
    await git(['add', '--force', '--', ...(await bundleFiles())], env)
    const tree = await git(['write-tree'], env)
    const message = `crosscloud ${version}, with the bundle of its actions`
    return await git(['commit-tree', tree, '-p', 'HEAD', '-m', message])
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function release(argv: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      'dry-run': { type: 'boolean' },
      push: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return console.log(USAGE)
  const plan = await readPlan(positionals[0])
  await requireClean('Commit or put away what is there; a release is made of one commit.')
  await requireNewTag(plan)
  const { exact, moving } = plan.tags
  if (values['dry-run']) {
    const head = await git(['rev-parse', 'HEAD'])
    return console.log(`${exact} and ${moving} would be made of ${head}; nothing was done`)
  }
  await build()
  const commit = await commitRelease(plan)
  await git(['tag', exact, commit])
  await git(['tag', '--force', moving, commit])
  console.log(`${exact} and ${moving} are ${commit}`)
  const pushes = [
    ['push', 'origin', exact],
    ['push', '--force', 'origin', moving],
  ]
  if (!values.push) return console.log(pushes.map((words) => `git ${words.join(' ')}`).join('\n'))
  for (const words of pushes) await git(words)
  console.log('pushed')
}

await release(process.argv.slice(2)).catch((error: unknown) => {
  const { message, hint, exitCode } = toStepError(error)
  console.error(`error: ${message || describe(error)}${hint ? `\n  → ${hint}` : ''}`)
  process.exitCode = exitCode
})
