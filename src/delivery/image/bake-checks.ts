import { StepError } from '../../core/errors.ts'
import { isBelow, isInCheckout } from '../../core/git/checkout.ts'
import { type BaseFolders, fileBelow } from '../../image/base/folders.ts'
import type { BaseImage } from '../../image/image.ts'
import type { War } from '../../image/war/war.ts'
import type { Context } from '../context.ts'

export function requirePackable({ webapp, warNames }: { webapp: string; warNames: string }): void {
  // An exploded WAR may well stand in a folder of such a name: WildFly wants that.
  const [, name] = /^(.*)\.war\/?$/i.exec(webapp) ?? []
  if (name !== undefined) {
    throw new StepError('INPUT_INVALID', `${webapp} would become ${webapp}.war if packaged`, {
      hint: `Leave .war out of image.webapp: ${name}.`,
    })
  }
  if (warNames !== 'utf-8') {
    throw new StepError('INPUT_INVALID', `names in ${warNames} cannot stay in a packaged WAR`, {
      hint: 'The server that unpacks it reads them as UTF-8. Take layout exploded.',
    })
  }
}

/** Whoever pushes a link to a folder of the machine would have its files in the image. */
export function refuseForeign(path: string, cwd: string): void {
  if (!isBelow(path, cwd) || isInCheckout(path, [cwd], {})) return
  throw new StepError(
    'INPUT_INVALID',
    `adding ${path}: a symbolic link on its way leads elsewhere`,
    {
      hint: 'Name the place itself, or copy what should be added.',
    },
  )
}

/** Of what may change around the web application nothing could be proven. */
export function refuseWideWritable({
  writable,
  webapp,
}: {
  writable: string[]
  webapp: string
}): void {
  const wide = writable.find((path) => isBelow(webapp, path))
  if (wide === undefined) return
  throw new StepError('INPUT_INVALID', `image.writable: ${wide} holds the whole web application`, {
    hint: `Name only what the application writes itself, such as ${webapp}/uploads.`,
  })
}

/** A JVM finds files by names that its locale can express: without a locale, ASCII only. */
export function warnOfLocale({ entries }: War, { config }: BaseImage, { log }: Context): void {
  const beyond = entries.filter(({ name }) => /[^\x20-\x7e]/.test(name))
  const [first] = beyond
  const env = config.config?.Env ?? []
  if (!first || env.some((entry) => /^(?:LC_ALL|LC_CTYPE|LANG)=.*utf-?8/i.test(entry))) return
  log.warn(
    `${beyond.length} names in the WAR are not ASCII (${first.name}), and the base image sets no locale: ` +
      'Java finds these files only with LANG=C.UTF-8, there or in container.env',
  )
}

/** The server would serve it beside the WAR, and no deployment would pass its proof. */
export function refuseFilesOfBase(
  { webapp, writable }: { webapp: string; writable: string[] },
  war: War,
  folders: BaseFolders,
): void {
  const root = webapp.replace(/^\/|\/$/g, '')
  const file = fileBelow(root, folders)
  if (file === undefined || writable.some((path) => isBelow(`/${file}`, path))) return
  if (war.entries.some(({ name }) => name === file.slice(root.length + 1))) return
  throw new StepError(
    'INPUT_INVALID',
    `the base image has files of its own in ${webapp}, where the web application goes: /${file}`,
    {
      hint: 'Remove them where the base is built, or put the web application elsewhere: image.webapp.',
    },
  )
}
