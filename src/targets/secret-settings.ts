import { posix } from 'node:path'
import { z } from 'zod'

/** A secret that the application reads from a file of its own. */
export interface ContainerSecret {
  name: string
  /** Where its value comes from: a key of the config centre, or a variable of the deploying process. */
  source: { key: string } | { environment: string }
  /** Absolute path inside the container. */
  path: string
  /** Octal permission bits. */
  mode: number
  uid: number
  gid: number
  /** The container's user, where the settings name one. */
  user: string | undefined
}

const FOLDER = '/run/secrets'
const VARIABLE = /^[A-Za-z_]\w*$/
const FILE = /^(?!\.{1,2}$)[\w.-]+$/
const PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+$/

const writtenSecret = z
  .strictObject({
    key: z
      .string()
      .regex(/^\/.*[^/]$/, 'is not a key of the config centre; write /db/password')
      .optional()
      .describe('Key of the config centre that has its value'),
    environment: z
      .string()
      .regex(VARIABLE, 'is not the name of a variable')
      .optional()
      .describe('Variable of the deploying job that has its value, in place of key'),
    target: z
      .string()
      .refine((text) => FILE.test(text) || PATH.test(text), 'is neither a file name nor a path')
      .optional()
      .describe('File below /run/secrets, or an absolute path; default: its name'),
    uid: z
      .number()
      .int()
      .min(0)
      .optional()
      .describe("Its owner; default: container's user, else 0"),
    gid: z.number().int().min(0).optional().describe("Its group; default: container's, else 0"),
    mode: z
      .string("is not text: YAML reads 0440 in its own way; write '0440', in quotes")
      .regex(/^0?[0-7]{3}$/, "is not a mode; write '0400'")
      .refine((text) => /[4-7]/.test(text), 'lets nobody read it')
      .optional()
      .describe("Its mode; default: '0400'"),
  })
  .refine(
    ({ key, environment }) => (key === undefined) !== (environment === undefined),
    'needs either key or environment',
  )

/** `container.secrets` in crosscloud.yml. */
export const secretSettings = z.record(z.string().regex(FILE, 'is not a file name'), writtenSecret)

type ParsedSecrets = z.output<typeof secretSettings>

/** With all defaults: a numeric `user` of the container owns its secrets. */
export function resolveSecrets({
  secrets = {},
  user,
}: {
  secrets?: ParsedSecrets | undefined
  user?: string | undefined
}): ContainerSecret[] {
  const [, owner = '0', group = '0'] = /^(\d+)(?::(\d+))?$/.exec(user ?? '') ?? []
  return Object.entries(secrets).map(([name, written]) => ({
    name,
    source: sourceOf(written),
    path: pathOf(name, written),
    mode: Number.parseInt(written.mode ?? '0400', 8),
    uid: written.uid ?? Number(owner),
    gid: written.gid ?? Number(group),
    user,
  }))
}

/** The keys of the config centre among their sources. */
export function secretKeys(secrets: readonly ContainerSecret[]): string[] {
  return secrets.flatMap(({ source }) => ('key' in source ? [source.key] : []))
}

const ANYBODY = 0o004

/**
 * Whether the user that a container runs as, `1000:1000` or a name, certainly cannot read this file.
 * What an image has in /etc/passwd and /etc/group is not known.
 */
export function isUnreadable(
  { mode, uid, gid }: Pick<ContainerSecret, 'mode' | 'uid' | 'gid'>,
  user: string,
): boolean {
  const [name = '', group = ''] = user.split(':')
  if (/^(?:root|0*)$/.test(name)) return false
  const own = /^\d+$/.test(name) ? Number(name) : undefined
  if (own === uid) return (mode & 0o400) === 0
  // A name may be that of any user but root.
  if (own === undefined && uid !== 0) return false
  if (/^\d+$/.test(group)) return (mode & (Number(group) === gid ? 0o040 : ANYBODY)) === 0
  return (mode & (0o040 | ANYBODY)) === 0
}

type Tree = Readonly<Record<string, unknown>>
const treeOf = (value: unknown) => (typeof value === 'object' && value ? value : {}) as Tree

/**
 * The variables that `container.secrets` names in a crosscloud.yml as it was written. The common ones
 * are of no use where every environment has its own.
 */
export function secretVariables(written: unknown): { name: string; path: string[] }[] {
  const { container, environments } = treeOf(written)
  const own = Object.entries(treeOf(environments)).map(
    ([name, each]) => [['environments', name], treeOf(each).container] as const,
  )
  const isReplaced = ([, each]: (typeof own)[number]) => treeOf(each).secrets !== undefined
  const common = own.length > 0 && own.every(isReplaced) ? [] : [[[], container] as const]
  return [...common, ...own].flatMap(([place, each]) =>
    Object.entries(treeOf(treeOf(each).secrets)).flatMap(([secret, source]) => {
      const { environment: name } = treeOf(source)
      const path = [...place, 'container', 'secrets', secret, 'environment']
      return typeof name === 'string' && VARIABLE.test(name) ? [{ name, path }] : []
    }),
  )
}

/** Where a secret is placed. */
export function pathOf(name: string, { target = name }: { target?: string | undefined }): string {
  return posix.resolve(FOLDER, target)
}

function sourceOf({ key, environment = '' }: ParsedSecrets[string]): ContainerSecret['source'] {
  return key === undefined ? { environment } : { key }
}
