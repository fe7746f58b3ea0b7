import { bakeImage } from './bake-image.ts'
import { buildWar } from './build-war.ts'
import { deploy } from './deploy.ts'
import { promote } from './promote.ts'
import { pushImage } from './push-image.ts'
import { release } from './release.ts'
import { renderConfig } from './render-config.ts'
import { retagImage } from './retag-image.ts'
import type { Step } from './step.ts'
import { verifyMd5 } from './verify-md5.ts'

/** Every step, in the order of the road; the last two chain the others. */
export const steps = [
  buildWar,
  bakeImage,
  pushImage,
  retagImage,
  renderConfig,
  deploy,
  verifyMd5,
  release,
  promote,
] as unknown as readonly Step[]
