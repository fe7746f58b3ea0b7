import { z } from 'zod'
import { containerPath } from '../core/settings/schema.ts'
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

/** `image:` in crosscloud.yml: what the WAR is baked into. */
export const imageSettings = z.strictObject({
  base: z.string().describe('Base image, best by digest; `scratch` for none'),
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
})
