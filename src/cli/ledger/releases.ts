import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import { shortCommit } from '../../core/git/commit.ts'
import type { Context } from '../../delivery/context.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import { headCommit } from '../../delivery/source/source.ts'
import type { Release } from '../../ledger/ledger.ts'
import { addExample, type Perform } from '../command.ts'
import { table } from '../output.ts'
import { minute, readCount } from './text.ts'

interface ReleasesOptions {
  app?: string
  commit?: string
  limit: string
}

export function addReleases(program: Command, perform: Perform): void {
  const command = program
    .command('releases')
    .description('What was built: releases, newest first, and the commits they were built from.')
    .option('--app <name>', 'application; default: that of crosscloud.yml')
    .option('--commit <commit>', 'only those built from this commit; HEAD: what is checked out')
    .option('--limit <number>', 'how many at the most', '20')
  addExample(command, 'releases --commit HEAD')
  command.action(async ({ app, commit, limit }: ReleasesOptions) => {
    await perform(command, async (context) => {
      const wanted = commit === 'HEAD' ? await checkedOut(context) : commit
      const name = app ?? (await context.settings()).app
      const ledger = await context.ledger()
      const found = await ledger.releases(name, readCount(limit, '--limit'), wanted)
      const releases = found.map((release) => ({ release: formatRelease(release), ...release }))
      return { json: { releases }, text: releasesText(found) }
    })
  })
}

async function checkedOut(context: Context): Promise<string> {
  const commit = await headCommit(context.cwd, context)
  if (commit !== undefined) return commit
  throw new StepError('NOT_FOUND', `${context.cwd} is no checkout of Git: it has no HEAD`, {
    hint: 'Name the commit: --commit 3f2a….',
  })
}

function releasesText(releases: readonly Release[]): string {
  if (releases.length === 0) return 'No such release is in the ledger.'
  return table(
    ['release', 'when (UTC)', 'commit', 'branch', 'by'],
    releases.map((release) => [
      ...[formatRelease(release), minute(release.bakedAt)],
      ...[shortCommit(release.commit ?? ''), release.branch ?? '', release.bakedBy],
    ]),
  )
}
