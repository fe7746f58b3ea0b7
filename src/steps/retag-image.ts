import { z } from 'zod'
import { copyImage } from '../registry/copy.ts'
import { imageByDigest } from '../registry/reference.ts'
import { imageReference } from './inputs.ts'
import { defineStep } from './step.ts'

export const retagImage = defineStep({
  name: 'retag-image',
  summary: 'Give an image another tag or repository, by digest, without pulling it.',
  example:
    'retag-image --image registry.test/team/webapi:1.4.2 --to harbor.example.com/team/webapi:1.4.2',
  inputs: z.object({
    image: imageReference.describe('Image to retag, by tag or digest'),
    to: imageReference.describe('Reference it should have'),
    overwrite: z.boolean().default(false).describe('Move the tag if it points elsewhere'),
  }),
  outputs: z.object({
    image: z.string().describe('Reference by digest'),
    digest: z.string().describe('Digest of the image, the same as before'),
    changed: z.boolean().describe('False when the tag was there already'),
  }),
  report: ({ image, changed }) => [`${changed ? 'Tagged ' : 'Is there'}  ${image}`],
  async run({ image, to, overwrite }, { registry, log }) {
    const { digest, changed } = await copyImage(await registry(), image, to, { overwrite, log })
    return { image: imageByDigest(to, digest), digest, changed }
  },
})
