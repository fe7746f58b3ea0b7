import { z } from 'zod'
import { parsed, readOrReport, waitingTime } from '../../core/settings/schema.ts'
import { parseAddress } from './address.ts'
import { engineFields, plainVariables, sizeFrom } from './container/settings.ts'
import { healthSettings } from './health/settings.ts'
import type { HostAddress } from './host.ts'
import { PORT, parsePort, parseVolume, VOLUME } from './notation.ts'
import { slotSettings } from './slots.ts'

// The patterns are for editors; what is wrong is reported by the reader.
const port = parsed(parsePort).meta({ pattern: PORT.source })
const volume = parsed(parseVolume).meta({ pattern: VOLUME.source })
const ipAddress = z.union([z.ipv4(), z.ipv6()], 'is not an IP address')

/** `container:` in crosscloud.yml; an environment may override parts of it. */
export const containerSettings = z.strictObject({
  name: z
    .string()
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/, 'is not a container name')
    .optional()
    .describe('Name of the container; default <app>-<environment>'),
  network: z
    .string()
    .min(1)
    .optional()
    .describe('bridge (default), host, or a network of the host'),
  ports: z.array(port).optional().describe("Published ports, in docker's notation"),
  slots: slotSettings
    .optional()
    .describe('Two sets of published ports: the next container starts beside the one that serves'),
  volumes: z.array(volume).optional().describe("Folders of the host, in docker's notation"),
  'on-volume': z
    .boolean()
    .optional()
    .describe('Whether rendered files may be placed on a volume; refused by default'),
  env: plainVariables.optional().describe('Plain variables; never secrets'),
  memory: sizeFrom(6 * 1024 ** 2, 'is less than 6m, the least that Docker takes')
    .optional()
    .describe('Memory limit; at least 6m'),
  restart: z.enum(['no', 'always', 'unless-stopped', 'on-failure']).optional(),
  'stop-timeout': waitingTime.optional().describe('How long the application may take to stop'),
  ...engineFields,
  health: healthSettings.optional().describe('How it is known that the application is well'),
})

/** `container:` as it was written, its texts read; without defaults. */
export type ParsedContainer = z.output<typeof containerSettings>

/** A Docker Engine: its address, or address and the folder with ca.pem, cert.pem, key.pem. */
export const hostSettings = z
  .union([
    z.string(),
    z.strictObject({
      address: z.string(),
      certificates: z.string().optional().describe('Folder with ca.pem, cert.pem and key.pem'),
      bind: ipAddress
        .optional()
        .describe('Address of the host at which ports are published that name none'),
    }),
  ])
  // After the union: a problem inside one of its members would be reported as "Invalid input".
  .transform((written, check): Omit<HostAddress, 'name'> => {
    const isText = typeof written === 'string'
    const { address, certificates, bind } = isText
      ? { address: written, certificates: undefined, bind: undefined }
      : written
    const read = () => ({ address: parseAddress(address), certificates, bind })
    return readOrReport(read, check, isText ? [] : ['address'])
  })
