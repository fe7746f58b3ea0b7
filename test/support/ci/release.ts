import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import type { Test } from 'tap'
import { run } from '../../../src/core/process/process.ts'
import type { Finished } from '../cli.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

export interface SourceRepository {
  folder: string
  git(...args: string[]): Promise<string>
  /** `npm run release` with these arguments. */
  release(...args: string[]): Promise<Finished>
}

/** The sources of this checkout as they are now, committed in a repository of their own. */
export async function sourceRepository(t: Pick<Test, 'teardown'>): Promise<SourceRepository> {
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-sources-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const listed = ['ls-files', '--cached', '--others', '--exclude-standard', '-z']
  const { stdout } = await run('git', listed, { cwd: ROOT })
  for (const path of stdout.split('\0').filter(Boolean)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await cp(join(ROOT, path), join(folder, path)).catch((error: NodeJS.ErrnoException) => {
      // Deleted, and not committed yet.
      if (error.code !== 'ENOENT') throw error
    })
  }
  const git = async (...args: string[]) => (await run('git', args, { cwd: folder })).stdout.trim()
  await git('init', '--quiet', '--initial-branch', 'main')
  await git('config', 'user.name', 'tester')
  await git('config', 'user.email', 'tester@example.com')
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  await writeFile(join(folder, '.git/info/exclude'), 'node_modules\n')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'Sources')
  const script = ['--import=./scripts/typescript.mjs', 'scripts/release.ts']
  return {
    folder,
    git,
    async release(...args) {
      const ended = await execa(process.execPath, [...script, ...args], {
        cwd: folder,
        reject: false,
      })
      return { code: ended.exitCode ?? null, stdout: ended.stdout, stderr: ended.stderr }
    },
  }
}

/** A fresh clone of the ref that `npm run release` makes of these sources, and what it is called. */
export async function releasedActions(
  t: Pick<Test, 'teardown'>,
): Promise<{ folder: string; refs: readonly string[] }> {
  const sources = await sourceRepository(t)
  const { code, stdout, stderr } = await sources.release()
  if (code !== 0) throw new Error(`npm run release ended with ${code}:\n${stderr}`)
  const refs = (await sources.git('tag')).split('\n')
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-actions-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const [ref = stdout] = refs
  await run('git', ['clone', '--quiet', '--branch', ref, `file://${sources.folder}`, folder])
  return { folder, refs }
}
