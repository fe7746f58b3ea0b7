import { z } from 'zod'
import { objectName, version } from '../core/settings/schema.ts'

/** `POST applications/{app}/versions`: allots the version after the last one. */
export const versionRequest = z.strictObject({
  environment: objectName.describe('First environment of the application: who may build there'),
})

/** 201 of it; a version that is not used stays unused. */
export const versionAllotted = z.object({ version })
