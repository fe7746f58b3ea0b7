import { stat } from 'node:fs/promises'
import { isAbsolute, relative, resolve } from 'node:path'
import { z } from 'zod'
import { digestFile } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { run } from '../core/process/process.ts'
import { checkOut, commitOf, headCommit } from '../delivery/source/source.ts'
import { uncommittedRules } from '../image/settings.ts'
import { defineStep } from './step.ts'

export const buildWar = defineStep({
  name: 'build-war',
  summary: 'Build the WAR with Maven, once, and say what it is.',
  example: 'build-war --war target/webapi.war --args=-Dmaven.test.skip=true',
  ci: { artifacts: ['**/target/*.war'] },
  inputs: z.object({
    war: z.string().describe('The WAR the build leaves, from the folder it runs in'),
    repository: z.string().optional().describe('Git URL to check out; default: build in place'),
    branch: z.string().optional().describe('Branch or tag to check out'),
    goals: z.array(z.string()).default(['clean', 'package']).describe("Maven's goals"),
    args: z.array(z.string()).default([]).describe('More arguments for Maven, one each'),
    clean: z
      .enum(uncommittedRules)
      .default('marked')
      .describe('Where files are in no commit: marked, the release says so; required, it stops'),
    maven: z.string().default('mvn').describe('Program to run, such as ./mvnw'),
    localRepository: z
      .string()
      .optional()
      .describe("Folder Maven keeps what it fetches in; default: Maven's own"),
  }),
  outputs: z.object({
    war: z.string().describe('Path of the WAR'),
    warMd5: z.string().describe('MD5 of the WAR, hex'),
    warSha256: z.string().describe('SHA-256 of the WAR, hex'),
    warSize: z.number().describe('Size of the WAR in bytes'),
    commit: z
      .string()
      .optional()
      .describe('Commit it was built from; it ends with +dirty where files are in no commit'),
  }),
  fromSettings: ({ war, folder }) =>
    war
      ? { war: resolve(folder, war.path), goals: war.goals, args: war.args, clean: war.clean }
      : {},
  report: ({ war, warMd5, warSha256, warSize }) => [
    `WAR      ${war}, ${formatSize(warSize)}`,
    `MD5      ${warMd5}`,
    `SHA-256  ${warSha256}`,
  ],
  async run({ war, repository, branch, goals, args, clean, maven, localRepository }, context) {
    // What a later job would fail of fails in the first job of a pipeline.
    const hasSettings = await context.hasSettings()
    if (hasSettings) await context.requireLedger()
    const place = hasSettings ? (await context.settings()).folder : context.cwd
    const folder = repository ? await checkOut(repository, branch, context) : place
    const { log, signal } = context
    const started = Date.now()
    const outputs = [war, localRepository ?? war].map((path) => resolve(context.cwd, path))
    const commit = repository
      ? await headCommit(folder, context)
      : await commitOf({ folder, clean, outputs }, context)
    // An argument of its own: Maven's launcher splits MAVEN_OPTS at blanks, also those of a path.
    const kept = localRepository
      ? [`-Dmaven.repo.local=${resolve(context.cwd, localRepository)}`]
      : []
    await run(maven, [...QUIET, ...kept, ...args, ...goals], { cwd: folder, signal, log })
    // A path of crosscloud.yml starts from its folder, and in a checkout from the checkout's.
    const inside = isAbsolute(war) ? relative(place, war) : war
    const path = repository ? resolve(folder, inside) : resolve(context.cwd, war)
    await requireFresh(path, started)
    const { md5, sha256, size } = await digestFile(path, signal)
    return {
      war: repository ? path : relative(context.cwd, path) || path,
      warMd5: md5,
      warSha256: sha256,
      warSize: size,
      commit,
    }
  },
})

/** No questions, no download bars, no colours: the output goes into a log. */
const QUIET = ['--batch-mode', '--no-transfer-progress', '-Dstyle.color=never']

function formatSize(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}

/** A WAR of an earlier build must never be taken for this build's. */
async function requireFresh(path: string, started: number): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found && found.mtimeMs >= started - 2000) return
  const why = found ? 'was not written by this build' : 'does not exist after the build'
  throw new StepError('NOT_FOUND', `WAR ${path} ${why}`, {
    hint: 'Set war.path in crosscloud.yml to the file that Maven writes (finalName in pom.xml).',
  })
}
