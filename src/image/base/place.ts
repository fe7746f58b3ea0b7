import { StepError } from '../../core/errors.ts'
import type { LayerPlan } from '../layers.ts'
import { foldersAbove } from '../paths.ts'
import type { BaseFolders } from './folders.ts'

/**
 * Puts the plans on a base. A path through a link of the base is refused: its folder entry would
 * replace the link.
 */
export function placeOnBase(plans: readonly LayerPlan[], base: BaseFolders): LayerPlan[] {
  for (const { files } of plans) {
    for (const { path } of files) {
      const link = foldersAbove(path).find((folder) => Object.hasOwn(base.links, folder))
      if (link !== undefined) throw throughLink(path, link, base.links[link] ?? '')
    }
  }
  return plans.map((plan) => ({ ...plan, base }))
}

function throughLink(path: string, link: string, folder: string): StepError {
  return new StepError(
    'INPUT_INVALID',
    `/${path} cannot be put into the image: /${link} is a symbolic link of the base image`,
    {
      hint: `Write /${folder} in place of /${link}; a folder there would hide what the link leads to.`,
    },
  )
}
