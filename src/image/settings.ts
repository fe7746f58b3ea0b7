import { z } from 'zod'
import { containerPath, type ReportField } from '../core/settings/schema.ts'
import { warLayouts } from './layers.ts'
import { nameCharsets } from './war/names.ts'
import { fileTimes } from './war/times.ts'

/** How uncommitted files are treated. */
export const uncommittedRules = ['marked', 'required'] as const

/** `war:` in crosscloud.yml: how the WAR is made. */
export const warSettings = z.strictObject({
  tool: z.enum(['maven']).default('maven').describe('What builds the WAR'),
  goals: z.array(z.string()).default(['clean', 'package']).describe("Maven's goals"),
  args: z.array(z.string()).default([]).describe('More arguments, one element each'),
  clean: z
    .enum(uncommittedRules)
    .default('marked')
    .describe('Where files are in no commit: marked, the release says so; required, it stops'),
  path: z.string().describe('The WAR that the build leaves, from the folder of crosscloud.yml'),
  static: z
    .boolean()
    .default(false)
    .describe('Whether it may lack WEB-INF/, as it holds nothing but files to be served'),
  names: z
    .enum(nameCharsets)
    .default('utf-8')
    .describe('Character set of names that the WAR does not mark as UTF-8'),
})

/** What makes the image. */
export const builders = ['crosscloud', 'docker'] as const

/** `image:` in crosscloud.yml: what the WAR is baked into. */
export const imageSettings = z.strictObject({
  builder: z
    .enum(builders)
    .default('crosscloud')
    .describe('crosscloud bakes on a base, without a daemon; docker builds by your own Dockerfile'),
  base: z
    .string()
    .optional()
    .describe('Base image, best by digest; `scratch` for none; required unless docker builds'),
  layout: z.enum(warLayouts).default('exploded').describe('Files of the WAR, or one .war file'),
  webapp: containerPath.describe('Where the web application lives in the image, without .war'),
  times: z
    .enum(fileTimes)
    .default('content')
    .describe(
      "Times of served files: by their content, or the commit's, for servers without ETags",
    ),
  templates: z.string().optional().describe('Folder with conf.d/*.toml and templates/*.hbs'),
  add: z
    .record(z.string(), containerPath)
    .optional()
    .describe('More files or folders, and where they go in the image; none onto a file of the WAR'),
  entrypoint: z
    .array(z.string())
    .optional()
    .describe("What a container starts, in place of the base's entrypoint"),
  writable: z
    .array(containerPath)
    .optional()
    .describe('Paths in the container that the application writes itself; they are not compared'),
  'start-script': z
    .boolean()
    .default(false)
    .describe("Print application, version and the WAR's MD5 when a container starts"),
  dockerfile: z
    .string()
    .optional()
    .describe('For docker: your Dockerfile; default: Dockerfile in the context'),
  context: z
    .string()
    .optional()
    .describe('For docker: folder that is sent as build context; default: that of crosscloud.yml'),
  args: z
    .record(z.string(), z.string())
    .optional()
    .describe('For docker: build arguments; never secrets'),
  target: z.string().optional().describe('For docker: stage to build; default: the last'),
})

/** What means nothing to the other builder, as crosscloud.yml and bake-image call it. */
const ofCrosscloud = ['base', 'add', 'entrypoint', 'start-script', 'startScript']
const ofDocker = [
  'dockerfile',
  'context',
  'args',
  'buildArgs',
  'target',
  'engine',
  'engineCertificates',
]

/** A base is needed without docker; with it, the Dockerfile decides. */
export function checkBuilder(given: object, report: ReportField): void {
  const fields = given as Record<string, unknown>
  const isDocker = fields.builder === 'docker'
  if (!isDocker && fields.base === undefined) report('base', 'is required')
  if (isDocker && fields.times === 'commit') report('times', 'is not for builder docker')
  for (const [name, value] of Object.entries(fields)) {
    const isNone = value === undefined || value === false || (Array.isArray(value) && !value.length)
    if (isNone) continue
    if (isDocker && ofCrosscloud.includes(name)) {
      report(name, 'is not for builder docker: the Dockerfile decides it')
    }
    if (!isDocker && ofDocker.includes(name)) report(name, 'is for builder docker only')
  }
}
