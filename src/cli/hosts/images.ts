import type { Command } from 'commander'
import { isDigest, shortDigest } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import { guardChange, recordAct, withLockOf } from '../../delivery/gate/guard.ts'
import {
  type FoundImage,
  findImages,
  nameOfImage,
  removeImages,
  requireImages,
} from '../../delivery/host-images.ts'
import { findOwnRelease } from '../../delivery/release.ts'
import { parseRelease } from '../../delivery/release-name.ts'
import { FEWEST_IMAGES } from '../../targets/prune-settings.ts'
import { failureOf } from '../../targets/responses.ts'
import type { CommandResult, Perform } from '../command.ts'
import { readKeep } from '../environment/retention.ts'
import {
  addHostCommand,
  type HostOptions,
  lockRequestOf,
  type Opened,
  open,
} from '../instances/open.ts'
import { formatBytes, table } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { agree, type Terminal } from '../terminal.ts'

interface RemoveOptions extends HostOptions {
  force?: boolean
  keep?: string
  dryRun?: boolean
  reason?: string
  lockWait?: string
  yes?: boolean
}

/** As for `retention`. */
const KEEP = 10

/** The images that pile up on hosts: shown, and removed where nobody needs them. */
export function addImageCommands(
  group: Command,
  perform: Perform,
  { person }: Pick<ProcessEnvironment, 'person'>,
): void {
  const images = addHostCommand(
    group,
    'images',
    'The images of the application that each host keeps, and what each is needed for.',
    'images --env production',
  )
    .option('--keep <number>', `as for prune (default: prune.keep, else ${KEEP})`)
    .option('--all', "other applications' images, too; to look at only")
  images.action(async (options: RemoveOptions & { all?: boolean }) => {
    await perform(images, async (context) =>
      listImages(await open(options, context), options, context),
    )
  })
  addRemove(group, perform, person)
  addPrune(group, perform, person)
}

function addRemove(group: Command, perform: Perform, person: Terminal): void {
  const rmi = addHostCommand(
    group,
    'rmi',
    'Remove an image of the application from its hosts; what an instance was made from stays.',
    'rmi webapi@1.3.0 --env production --reason "it holds a password"',
  )
    .argument('<image>', 'a release, as application@version, or a digest')
    .option('--force', 'even where a rollback would need it; needs a reason')
  addChangeOptions(rmi)
  rmi.action(async (image: string, options: RemoveOptions) => {
    await perform(rmi, async (context) => {
      const opened = await open(options, context)
      const digest = await digestOf(image, context)
      const isForced = options.force === true && Boolean(reasonOf(options, context))
      const choose = (found: readonly FoundImage[]) =>
        chooseImage(image, digest, found, { isForced, environment: opened.environment.name })
      return remove({ action: 'hosts rmi', keep: FEWEST_IMAGES, choose }, options, opened, {
        context,
        person,
      })
    })
  })
}

function addPrune(group: Command, perform: Perform, person: Terminal): void {
  const prune = addHostCommand(
    group,
    'prune',
    'Remove the images of the application that no instance, no rollback and no newest release needs.',
    'prune --env production --keep 5 --dry-run',
  )
    .option(
      '--keep <number>',
      `how many stay: of the newest, and of the last deployed (default: prune.keep, else ${KEEP})`,
    )
    .option('--dry-run', 'show them; remove nothing')
  addChangeOptions(prune)
  prune.action(async (options: RemoveOptions) => {
    await perform(prune, async (context) => {
      const opened = await open(options, context)
      const keep = keepOf(options, opened)
      const choose = (found: readonly FoundImage[]) => found.filter(({ use }) => use === 'none')
      return remove({ action: 'hosts prune', keep, choose }, options, opened, { context, person })
    })
  })
}

const addChangeOptions = (command: Command) =>
  command
    .option('--reason <text>', 'why; needed where a gate stands. Default: CROSSCLOUD_REASON')
    .option('--lock-wait <duration>', 'how long to wait while somebody else deploys there: 10m')
    .option('--yes', 'do not ask')

const reasonOf = ({ reason }: RemoveOptions, { variable }: Pick<Context, 'variable'>) =>
  reason ?? variable('CROSSCLOUD_REASON')

const keepOf = ({ keep }: RemoveOptions, { environment }: Opened) =>
  keep === undefined ? (environment.prune?.keep ?? KEEP) : readKeep(keep)

async function listImages(
  opened: Opened,
  options: RemoveOptions & { all?: boolean },
  context: Context,
): Promise<CommandResult> {
  const { app, environment, target } = opened
  const keep = keepOf(options, opened)
  const { found, responses } = await findImages({ environment, target, keep }, context)
  const failure = failureOf(responses)
  const shown = found.filter(({ use }) => options.all || use !== 'foreign').sort(byHostAndAge)
  const rows = shown.map((each) => {
    const { host, use, image } = each
    const name =
      use === 'foreign' ? (image.references[0] ?? shortId(image.id)) : nameOfImage(each, app)
    return [host, name, shortId(image.id), formatBytes(image.size), use]
  })
  return {
    json: { images: shown.map(toJson) },
    text:
      rows.length === 0
        ? `No image of ${app} on the hosts of ${environment.name}.`
        : table(['host', 'image', 'id', 'size', 'needed'], rows),
    ...(failure && { failure }),
  }
}

const shortId = (id: string) => (isDigest(id) ? shortDigest(id) : id)

const byHostAndAge = (a: FoundImage, b: FoundImage) =>
  a.host === b.host ? (a.image.createdAt < b.image.createdAt ? 1 : -1) : a.host < b.host ? -1 : 1

function toJson({ host, image, use, version, digests }: FoundImage) {
  const { id, references, size, createdAt, usedBy } = image
  const names = { version: version ?? null, digest: digests[0] ?? null, id, references }
  return { host, use, ...names, size, createdAt, usedBy }
}

async function digestOf(image: string, context: Context): Promise<string> {
  const text = image.slice(image.lastIndexOf('@') + 1)
  if (isDigest(text)) return text
  return (await findOwnRelease(parseRelease(image), context)).digest
}

/** Refuses to take away what runs, and, without force and a reason, what a rollback needs. */
function chooseImage(
  name: string,
  digest: string,
  found: readonly FoundImage[],
  { isForced, environment }: { isForced: boolean; environment: string },
): FoundImage[] {
  const chosen = found.filter(
    ({ use, digests }) => use !== 'foreign' && digests.some((each) => each === digest),
  )
  if (chosen.length === 0) {
    throw new StepError('NOT_FOUND', `${name} is on none of these hosts`, {
      hint: `\`crosscloud hosts images --env ${environment}\` lists what they keep.`,
    })
  }
  const used = chosen.find(({ image }) => image.usedBy.length > 0)
  if (used) {
    const [first] = used.image.usedBy
    throw new StepError('CONFLICT', `host ${used.host}: ${first?.name} was made from ${name}`, {
      hint: `An image goes only after its containers: \`crosscloud instances rm --env ${environment}\`.`,
    })
  }
  if (!chosen.some(({ use }) => use === 'rollback') || isForced) return chosen
  throw new StepError('CONFLICT', `a rollback would need ${name}`, {
    hint: '`--force` with `--reason` removes it all the same; a rollback then pulls it again.',
  })
}

interface Removal {
  action: 'hosts rmi' | 'hosts prune'
  keep: number
  choose(found: readonly FoundImage[]): FoundImage[]
}

/** Under the lock, so that no deployment needs at this moment what is being removed. */
async function remove(
  { action, keep, choose }: Removal,
  options: RemoveOptions,
  opened: Opened,
  { context, person }: { context: Context; person: Terminal },
): Promise<CommandResult> {
  const { app, environment, target } = opened
  const reason = reasonOf(options, context)
  const look = async () => {
    const { found, responses } = await findImages({ environment, target, keep }, context)
    return { chosen: choose(found).sort(byHostAndAge), failure: failureOf(responses) }
  }
  const { chosen: seen, failure } = await look()
  const lines = seen.map((each) => `${each.host}: ${nameOfImage(each, app)}`)
  const json = { images: seen.map(toJson), removed: 0, ...(failure && { complete: false }) }
  if (options.dryRun || seen.length === 0) {
    const text = [...lines, seen.length === 0 ? 'Nothing to remove.' : `${seen.length} to remove.`]
    return { json, text: text.join('\n'), ...(failure && { failure }) }
  }
  for (const line of lines) context.log.info(line)
  const who = await guardChange({ environment, action, reason, waitsForFreeze: false }, context)
  const what = seen.length === 1 ? 'this image' : `these ${seen.length} images`
  await agree(person, `Remove ${what}?`, options.yes ?? false)
  const { lockWait } = options
  const request = lockRequestOf(opened, { action, reason, lockWait }, context)
  return withLockOf(who, request, context, async (lock) => {
    const { chosen } = await look()
    if (chosen.length === 0) return { json, text: 'Nothing to remove.' }
    const names = chosen.map((each) => `${nameOfImage(each, app)} on ${each.host}`)
    const act = { environment: environment.name, subject: names.join(', '), reason }
    await recordAct(action, act, who, context)
    await removeImages(chosen, requireImages(environment, target), context, lock.check)
    return {
      json: { ...json, images: chosen.map(toJson), removed: chosen.length },
      text: `${chosen.length} removed.`,
      ...(failure && { failure }),
    }
  })
}
