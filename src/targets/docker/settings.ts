import { z } from 'zod'
import { byteSize, duration } from '../../core/settings/schema.ts'

const port = z
  .string()
  .regex(
    /^(?:(?:\d{1,3}\.){3}\d{1,3}:)?(?:\d{0,5}:)?\d{1,5}$/,
    'is not a port mapping; write 8080:8080 or 127.0.0.1::8080',
  )

const volume = z
  .string()
  .regex(/^[^:]+:\/[^:]*(?::(?:ro|rw))?$/, 'is not a volume; write /on/host:/in/container[:ro]')

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
  volumes: z.array(volume).optional().describe("Folders of the host, in docker's notation"),
  'on-volume': z
    .boolean()
    .optional()
    .describe('Whether rendered files may be placed on a volume; refused by default'),
  env: z.record(z.string(), z.string()).optional().describe('Plain variables; never secrets'),
  memory: byteSize.optional().describe('Memory limit'),
  restart: z.enum(['no', 'always', 'unless-stopped', 'on-failure']).optional(),
  'stop-timeout': duration.optional().describe('How long the application may take to stop'),
  health: z
    .strictObject({
      http: z
        .string()
        .regex(/^:\d{1,5}\/\S*$/, 'is not a port and path; write :8080/healthz')
        .describe("The container's port and the path that answers 2xx when all is well"),
      timeout: duration.default(60_000).describe('How long a start may take'),
    })
    .optional(),
})

/** A Docker Engine: its address, or address and the folder with ca.pem, cert.pem, key.pem. */
export const hostSettings = z.union([
  z.string(),
  z.strictObject({
    address: z.string(),
    certificates: z.string().optional().describe('Folder with ca.pem, cert.pem and key.pem'),
  }),
])
