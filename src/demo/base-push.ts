import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { sha256 } from '../core/digest.ts'
import type { Log } from '../core/log.ts'
import { descriptor } from '../image/image.ts'
import { formatReference, type Reference } from '../registry/reference.ts'
import { mediaTypes, type RegistryClient } from '../registry/types.ts'
import type { BaseImage } from './base-image.ts'

/** Puts the base image into a registry under `reference`; no engine takes part. */
export async function pushBase(
  registry: RegistryClient,
  base: BaseImage,
  reference: Reference,
  log: Log,
): Promise<void> {
  const configBytes = Buffer.from(
    JSON.stringify({
      architecture: base.architecture,
      os: base.os,
      config: base.config,
      rootfs: { type: 'layers', diff_ids: [base.diffId] },
    }),
  )
  const config = descriptor(mediaTypes.ociConfig, configBytes)
  const layer = { mediaType: mediaTypes.ociLayerGzip, digest: base.digest, size: base.size }
  await registry.ensureBlob(reference, layer, async () => createReadStream(base.layerPath))
  await registry.ensureBlob(reference, config, async () => Readable.from([configBytes]))
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config,
      layers: [layer],
    }),
  )
  const manifest = { mediaType: mediaTypes.ociManifest, digest: sha256(bytes), bytes }
  await registry.putManifest(reference, manifest)
  log.info(`${formatReference(reference)} is ${manifest.digest}`)
}
