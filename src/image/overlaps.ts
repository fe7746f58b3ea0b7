import { StepError } from '../core/errors.ts'
import { indentedLines } from '../core/lists.ts'
import { OWN_FOLDER } from './image.ts'
import type { LayerPlan, WarLayout } from './layers.ts'
import { foldersAbove, tarPath } from './paths.ts'

/** A plan and the owner of its files: `the WAR`, or the addition as written in the settings. */
export interface OwnedPlan {
  owner: string
  plan: LayerPlan
}

/**
 * Refuses additions that overlap the WAR, each other or crosscloud's own folder. Of two files at
 * one path the upper layer's would silently win.
 */
export function refuseOverlaps(
  war: readonly LayerPlan[],
  additions: readonly OwnedPlan[],
  { layout, webapp }: { layout: WarLayout; webapp: string },
): void {
  const reserved = new Map([[OWN_FOLDER, "crosscloud's own folder"]])
  // Beside a folder of that name a server leaves the .war file packed.
  if (layout === 'packaged') reserved.set(tarPath(webapp), 'where the WAR unpacks')
  const taken: Taken = { files: new Map(), folders: new Map() }
  const problems: string[] = []
  for (const { owner, plan } of [
    ...war.map((plan) => ({ owner: 'the WAR', plan })),
    ...additions,
  ]) {
    for (const { path } of plan.files) {
      const problem = owner === 'the WAR' ? undefined : overlapOf(path, taken, reserved)
      if (problem) problems.push(`${owner}: /${path} ${problem}`)
      else take(path, owner, taken)
    }
  }
  if (problems.length === 0) return
  const lines = indentedLines(problems, 20)
  throw new StepError('INPUT_INVALID', `additions that overlap:\n${lines}`, {
    hint: 'Change a file of the WAR where the WAR is built; give an addition another path.',
  })
}

/** The owners of all paths so far. */
interface Taken {
  files: Map<string, string>
  folders: Map<string, string>
}

function overlapOf(
  path: string,
  { files, folders }: Taken,
  reserved: ReadonlyMap<string, string>,
): string | undefined {
  const file = files.get(path)
  if (file) return `is a file of ${file}`
  const folder = folders.get(path)
  if (folder) return `is a folder of ${folder}`
  for (const place of [path, ...foldersAbove(path).reverse()]) {
    const reason = reserved.get(place)
    if (reason) return place === path ? `is ${reason}` : `is in /${place}, ${reason}`
    const above = place === path ? undefined : files.get(place)
    if (above) return `leads through /${place}, a file of ${above}`
  }
  return undefined
}

function take(path: string, owner: string, { files, folders }: Taken): void {
  files.set(path, owner)
  for (const folder of foldersAbove(path).reverse()) {
    // The owner of a folder owns the folders above it as well.
    if (folders.has(folder)) return
    folders.set(folder, owner)
  }
}
