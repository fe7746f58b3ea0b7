import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { describe, StepError, toStepError } from '../src/core/errors.ts'
import { run } from '../src/core/process/process.ts'

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

/** What the tags name here and at origin, as far as they are there. */
interface Tagged {
  here: Map<string, string>
  origin: Map<string, string> | undefined
}

async function readTags(): Promise<Tagged> {
  const read = (lines: string) =>
    new Map(
      [...lines.matchAll(/^(\w+)\s+refs\/tags\/(\S+)$/gm)].map(
        ([, commit = '', tag = '']) => [tag, commit] as const,
      ),
    )
  const isRemote = (await git(['remote'])).split('\n').includes('origin')
  const format = '--format=%(objectname) %(refname)'
  return {
    here: read(await git(['for-each-ref', format, 'refs/tags'])),
    origin: isRemote ? read(await git(['ls-remote', '--tags', 'origin'])) : undefined,
  }
}

/** The commit of a release of HEAD that was not finished, or not pushed; undefined before the first. */
async function findMade(plan: Plan, { here, origin }: Tagged): Promise<string | undefined> {
  const { exact } = plan.tags
  const there = origin?.get(exact)
  const commit = here.get(exact) ?? there
  if (commit === undefined) return undefined
  if (!here.has(exact)) await git(['fetch', '--quiet', '--no-tags', 'origin', `refs/tags/${exact}`])
  const [parent, subject] = (await git(['log', '-1', '--format=%P%n%s', commit])).split('\n')
  const isOwn = parent === (await git(['rev-parse', 'HEAD'])) && subject === messageOf(plan)
  const isOne = there === undefined || there === commit
  const newer = [...here.keys(), ...(origin?.keys() ?? [])].some((tag) => isNewer(tag, plan))
  if (isOwn && isOne && !newer) return commit
  throw new StepError('CONFLICT', `the tag ${exact} is there already`, {
    hint: 'A version is released once. Give package.json the next one.',
  })
}

/** Whether a tag is of a later release that the moving tag is for, too. */
function isNewer(tag: string, { tags }: Plan): boolean {
  if (!/^v\d+\.\d+\.\d+$/.test(tag) || !tag.startsWith(`${tags.moving}.`)) return false
  return tag.localeCompare(tags.exact, 'en', { numeric: true }) > 0
}

/** Arguments of git for what origin lacks. */
function missingPushes({ tags }: Plan, commit: string, { origin }: Tagged): string[][] {
  const lacks = (tag: string) => origin?.get(tag) !== commit
  return [
    ...(lacks(tags.exact) ? [['push', 'origin', tags.exact]] : []),
    ...(lacks(tags.moving) ? [['push', '--force', 'origin', tags.moving]] : []),
  ]
}

/** Nothing of an older bundle may get the tag. Only here are all steps needed, and the bundler. */
async function build(): Promise<void> {
  const { renderGeneratedFiles } = await import('./generated-files.ts')
  const { stepNames } = await import('../src/steps/index.ts')
  const { bundleActions } = await import('./bundle.mjs')
  for (const [path, text] of await renderGeneratedFiles(process.cwd())) {
    if ((await readFile(path, 'utf8').catch(() => '')) === text) continue
    throw new StepError('CONFLICT', `${path} is not what the sources say`, {
      hint: 'Run `npm run generate`, and commit what it writes.',
    })
  }
  for (const path of await bundleFiles()) await rm(path, { recursive: true, force: true })
  await bundleActions(process.cwd(), stepNames)
}

/** What an action loads: a line for each step, and the bundle. */
async function bundleFiles(): Promise<string[]> {
  const { ACTION_FILES } = await import('./bundle.mjs')
  const names = await readdir('dist').catch(() => [])
  return [...names.filter((name) => name.endsWith('.cjs')), ACTION_FILES].map(
    (name) => `dist/${name}`,
  )
}

const messageOf = ({ version }: Plan) => `crosscloud ${version}, with the bundle of its actions`

/** Through an index of its own: neither a branch nor the checkout changes. */
async function commitRelease(plan: Plan): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-release-'))
  const env = { GIT_INDEX_FILE: join(folder, 'index') }
  try {
    await git(['add', '--', ...plan.published], env)
    await git(['add', '--force', '--', ...(await bundleFiles())], env)
    const tree = await git(['write-tree'], env)
    return await git(['commit-tree', tree, '-p', 'HEAD', '-m', messageOf(plan)])
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
  const tagged = await readTags()
  const made = await findMade(plan, tagged)
  if (values['dry-run']) return console.log(await lookedAt(plan, made, tagged))
  if (made === undefined) await build()
  const commit = made ?? (await commitRelease(plan))
  const { exact, moving } = plan.tags
  for (const tag of [exact, moving]) await git(['tag', '--force', tag, commit])
  console.log(`${exact} and ${moving} are ${commit}`)
  const pushes = missingPushes(plan, commit, tagged)
  if (pushes.length === 0) return console.log('origin has both')
  if (!values.push) return console.log(commandsOf(pushes).join('\n'))
  await push(pushes)
  console.log('pushed')
}

async function lookedAt(plan: Plan, made: string | undefined, tagged: Tagged) {
  const { tags } = plan
  const both = `${tags.exact} and ${tags.moving}`
  if (made === undefined) {
    return `${both} would be made of ${await git(['rev-parse', 'HEAD'])}; nothing was done`
  }
  const missing = commandsOf(missingPushes(plan, made, tagged))
  return [`${tags.exact} is ${made}; nothing was done`, ...missing].join('\n')
}

const commandsOf = (pushes: string[][]) => pushes.map((words) => `git ${words.join(' ')}`)

/** Where a push fails, the error lists what is left to push. */
async function push(pushes: string[][]): Promise<void> {
  for (const [index, words] of pushes.entries()) {
    await git(words).catch((error: unknown) => {
      const { message } = toStepError(error)
      const left = commandsOf(pushes.slice(index)).map((command) => `\`${command}\``)
      throw new StepError('UNAVAILABLE', `the tags are made, but not all are pushed: ${message}`, {
        hint: `Run \`npm run release -- --push\` again, or ${left.join(', then ')}.`,
      })
    })
  }
}

await release(process.argv.slice(2)).catch((error: unknown) => {
  const { message, hint, exitCode } = toStepError(error)
  console.error(`error: ${message || describe(error)}${hint ? `\n  → ${hint}` : ''}`)
  process.exitCode = exitCode
})
