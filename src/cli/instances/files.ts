import { posix } from 'node:path'
import { isStepError, StepError, toStepError } from '../../core/errors.ts'
import { containerPath } from '../../core/settings/schema.ts'
import { joinErrors } from '../../core/settle-all.ts'
import type { Context } from '../../delivery/context.ts'
import { readTail } from '../../targets/file-tail.ts'
import { placedFilesOf } from '../../targets/labels.ts'
import { realPath } from '../../targets/real-path.ts'
import type { Instance, Target } from '../../targets/target.ts'
import { tomcatFolder } from '../../targets/tomcat.ts'
import type { CommandResult } from '../command.ts'
import type { LogRequest } from './log-request.ts'
import { current, type Opened, placeOf } from './open.ts'

/** The end of a file of each instance; a stopped instance's files can be read, too. */
export async function showFile(
  file: string,
  { query, matches, print }: LogRequest,
  opened: Opened,
  context: Context,
): Promise<CommandResult> {
  const { target, environment } = opened
  const { found, failure: silent } = await current(opened)
  const { image } = await context.settings()
  const read = async (instance: Instance) => {
    const path = await absolutePath(file, instance, target, image?.webapp)
    const { real, rendered } = await withoutLinks(path, instance, opened)
    const tail = await readTail((each) => target.read(instance, each), real, {
      lines: query.lines ?? 1,
      matches,
      allows: (each) => !rendered.has(each),
      signal: context.signal,
    }).catch((error: unknown) => {
      if (!isStepError(error, 'NOT_FOUND')) throw error
      const message = `${placeOf(instance)}: ${error.message}`
      throw error.with({
        message,
        hint: file.includes('*') ? error.hint : newest(environment.name),
      })
    })
    return { host: instance.host, name: instance.name, ...tail }
  }
  const results = await Promise.allSettled(found.map(read))
  const errors = silent ? [silent] : []
  const files = results.flatMap((result) => {
    if (result.status === 'fulfilled') return [result.value]
    errors.push(toStepError(result.reason))
    return []
  })
  const failure = joinErrors(errors)
  if (files.length === 0 && failure) throw failure
  for (const each of files) {
    print(`== ${each.path} of ${placeOf(each)}`)
    for (const line of each.lines) print(line)
  }
  return { json: { files }, text: '', printed: true, ...(failure && { failure }) }
}

/** `logs/localhost.log` is one of Tomcat's own: its folder is known from the instance's variables. */
async function absolutePath(
  file: string,
  instance: Instance,
  target: Target,
  webapp: string | undefined,
): Promise<string> {
  const path = file.startsWith('/') ? file : await belowTomcat(file, instance, target, webapp)
  const checked = containerPath.safeParse(path)
  const isPlain = !posix.dirname(path).includes('*')
  if (checked.success && isPlain) return path
  const why = isPlain ? checked.error?.issues[0]?.message : 'has a * before its last part'
  throw new StepError('INPUT_INVALID', `--file "${file}" ${why}`, {
    hint: 'Write logs/localhost.log, "logs/localhost.*.log" for the newest, or an absolute path.',
  })
}

async function belowTomcat(
  file: string,
  instance: Instance,
  target: Target,
  webapp: string | undefined,
): Promise<string> {
  const folder = tomcatFolder(await target.variables(instance)) ?? beforeWebapps(webapp)
  if (folder !== undefined) return `${folder.replace(/\/$/, '')}/${file}`
  throw new StepError('INPUT_INVALID', `nobody knows where Tomcat is in ${placeOf(instance)}`, {
    hint: 'Give the whole path, or set CATALINA_BASE in the image.',
  })
}

/** `/usr/local/tomcat/webapps/ROOT` → `/usr/local/tomcat` */
const beforeWebapps = (webapp = '') => /^(\/.+)\/webapps\//.exec(webapp)?.[1]

/**
 * Where the file really is, as a folder may be a link, like Debian's /var/lib/tomcat10/conf, and where
 * rendered files are, which may hold passwords; INPUT_INVALID when it is one of those.
 */
async function withoutLinks(
  path: string,
  instance: Instance,
  { target, environment: { name } }: Opened,
) {
  const links = new Map<string, Promise<string | undefined>>()
  const readLink = (each: string) => {
    const found = links.get(each) ?? target.readLink(instance, each)
    links.set(each, found)
    return found
  }
  const realFile = async (each: string) =>
    posix.join(await realPath(readLink, posix.dirname(each)), posix.basename(each))
  const placed = Object.keys(placedFilesOf(instance))
  if (placed.includes(path)) throw isRendered(path, name)
  const rendered = new Set<string>()
  for (const each of placed)
    rendered
      .add(each)
      .add(await realFile(each))
      .add(await realPath(readLink, each))
  const real = await realFile(path)
  if (rendered.has(real)) throw isRendered(path, name)
  return { real, rendered }
}

const newest = (environment: string) =>
  `It may have a date in its name: \`crosscloud instances logs --env ${environment} --file "logs/localhost.*.log"\` takes the newest.`

function isRendered(path: string, environment: string): StepError {
  return new StepError('INPUT_INVALID', `${path} is no log: it was rendered from the config`, {
    hint: `\`crosscloud render-config --env ${environment} --diff running\` shows it without its secrets.`,
  })
}
