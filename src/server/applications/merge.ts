import { isAbsolute, posix, resolve } from 'node:path'
import { StepError } from '../../core/errors.ts'
import { ownKeys } from './settings.ts'

type Tree = Readonly<Record<string, unknown>>

/** crosscloud.yml of the repository, as it is written, and what the server alone says. */
export interface Mergeable {
  app: string
  repository: unknown
  /** The application in crosscloud.server.yml as it is written. */
  own: Tree
  /** Where its relative paths start. */
  folder: string
}

export interface Merged {
  settings: Tree
  /** Variables of the server that its own settings name. */
  variables: readonly OwnVariable[]
}

export interface OwnVariable {
  /** In the result. */
  name: string
  /** On the server. */
  source: string
  /** Whose settings name it; undefined: those of the application. */
  environment: string | undefined
  /** The one that does: `image`. */
  setting: string
}

/**
 * Variables of the server's own settings get other names: a commit could name them as well, and have
 * them sent wherever it likes.
 */
export const OWN = 'CROSSCLOUD_OWN_'
const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?=(?::-[^}]*)?\})/g

/** The server's settings over those of the repository. */
export function mergeSettings({ app, repository, own, folder }: Mergeable): Merged {
  const written = treeOf(repository)
  if (written === undefined) throw invalid(app, ['is not a YAML mapping'])
  if (written.app !== app) {
    const named = typeof written.app === 'string' ? JSON.stringify(written.app) : 'no application'
    throw invalid(app, [`is of ${named}; it is registered as ${app}`])
  }
  requireOwn(app, written, own)
  const problems = [
    ...proxyProblems(written),
    ...[...leaves(written)]
      .filter(({ path }) => !isReplaced(path))
      .flatMap(({ path, text }) => problemsOf(path, text)),
  ]
  if (problems.length > 0) throw invalid(app, problems)
  const variables: OwnVariable[] = []
  const prepare = (value: unknown, setting: string, environment?: string) =>
    mapTexts(value, [setting], (text, path) => {
      const renamed = text.replace(VARIABLE, (_match, name: string) => {
        variables.push({ name: `${OWN}${name}`, source: name, environment, setting })
        return `\${${OWN}${name}`
      })
      return absolute(renamed, path, folder)
    })
  const prepareAll = (tree: Tree, environment?: string) =>
    Object.fromEntries(
      Object.entries(tree).map(([key, value]) => [key, prepare(value, key, environment)]),
    )
  const named = treeOf(written.environments) ?? {}
  const added = treeOf(own.environments) ?? {}
  const top = ownKeys.filter((key) => own[key] !== undefined).map((key) => [key, own[key]])
  const common = prepareAll(Object.fromEntries(top))
  const environments = [...new Set([...Object.keys(named), ...Object.keys(added)])].map((name) => [
    name,
    { ...treeOf(named[name]), ...prepareAll(withoutAgent(added[name]), name) },
  ])
  const settings = {
    ...Object.fromEntries(Object.entries(written).filter(([key]) => !isOwnKey(key))),
    ...common,
    environments: Object.fromEntries(environments),
  }
  return { settings, variables }
}

const isOwnKey = (key: string) => (ownKeys as readonly string[]).includes(key)

/** What a repository says there reaches no step. */
const isReplaced = ([first = '', , third]: readonly string[]) =>
  isOwnKey(first) || (first === 'environments' && third === 'config-key')

/**
 * What decides who may, and where secrets go, is refused where only the repository says it: it would
 * be missed. How GitLab is set up is no part of a step, and is left out.
 */
function requireOwn(app: string, written: Tree, own: Tree): void {
  const lacks = (mine: Tree, theirs: Tree, key: string) =>
    theirs[key] !== undefined && mine[key] === undefined
  const added = treeOf(own.environments) ?? {}
  const environments = Object.entries(treeOf(written.environments) ?? {})
  const places = [
    ...ownKeys.filter((key) => key !== 'gitlab' && lacks(own, written, key)),
    ...environments
      .filter(([name, theirs]) =>
        lacks(treeOf(added[name]) ?? {}, treeOf(theirs) ?? {}, 'config-key'),
      )
      .map(([name]) => `environments.${name}.config-key`),
  ]
  if (places.length > 0) {
    const where = places.map((place) => `applications.${app}.${place}`).join(', ')
    const hint = `Set ${where} in crosscloud.server.yml.`
    throw invalid(
      app,
      places.map((place) => `${place} counts on the server alone`),
      hint,
    )
  }
  if (own.ledger === undefined)
    throw invalid(
      app,
      ['names no ledger, nor does the server'],
      `Set applications.${app}.ledger in crosscloud.server.yml.`,
    )
}

/** The server's alone: no step knows of it. */
function withoutAgent(environment: unknown): Tree {
  const { agent: _agent, ...rest } = treeOf(environment) ?? {}
  return rest
}

function treeOf(value: unknown): Tree | undefined {
  const isTree = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isTree ? (value as Tree) : undefined
}

function invalid(app: string, problems: readonly string[], hint?: string): StepError {
  const text = problems.map((problem) => `crosscloud.yml of ${app}: ${problem}`).join('\n')
  const otherwise = `Correct it on the protected branch, or set it in applications.${app} on the server.`
  return new StepError('INPUT_INVALID', text, { hint: hint ?? otherwise })
}

interface Leaf {
  path: readonly string[]
  text: string
}

/** Its drivers run programs on the machine that deploys: here, those would be a commit's. */
function proxyProblems(written: Tree): string[] {
  const environments = Object.entries(treeOf(written.environments) ?? {})
  const places = environments.filter(([, value]) => Object.hasOwn(treeOf(value) ?? {}, 'proxy'))
  const paths = places.map(([name]) => `environments.${name}.proxy`)
  if (Object.hasOwn(written, 'proxy')) paths.push('proxy')
  return paths.map((path) => `${path} may be set on the server alone`)
}

/**
 * All texts of a document, keys too: both may name things. A Map or a Set has texts that are no
 * properties: none of them comes from a plain document.
 */
function* leaves(value: unknown, path: readonly string[] = []): Generator<Leaf> {
  if (typeof value === 'string') yield { path, text: value }
  else if (typeof value === 'object' && value !== null) {
    if (!PLAIN.has(Object.getPrototypeOf(value))) {
      throw new StepError('INPUT_INVALID', `crosscloud.yml: ${path.join('.')} is no plain value`, {
        hint: 'Write mappings, lists and texts without tags.',
      })
    }
    for (const [key, item] of Object.entries(value)) {
      yield { path: [...path, key], text: key }
      yield* leaves(item, [...path, key])
    }
  }
}

const PLAIN: ReadonlySet<unknown> = new Set([Object.prototype, Array.prototype])

/** With these a host or a volume would be another one for each caller. */
const OF_RUN =
  /\$\{(CROSSCLOUD_(?:SERVER|WORKER|RUN)|CI_JOB_URL|GITLAB_USER_LOGIN|CI_COMMIT_SHA|CI_COMMIT_REF_NAME)(?![A-Za-z0-9_])/

/** Keys whose values are files of the machine that deploys. */
const FILE_KEYS = new Set(['ca', 'cert', 'key', 'certificates'])
const FILE_ADDRESS = /^(?:file|sqlite):(.*)$/s

/** What a commit must not say: names of the server's variables, and its files. */
function problemsOf(path: readonly string[], text: string): string[] {
  const at = path.join('.')
  if (text.includes(OWN)) return [`${at} names a variable of the server`]
  const [, actor] = OF_RUN.exec(path.at(-1) === 'environment' ? `\${${text}}` : text) ?? []
  if (actor !== undefined) return [`${at} names ${actor}, which says who runs it`]
  if (/^(?:unix|npipe|rediss?\+unix):/i.test(text))
    return [`${at} names an engine on the server itself`]
  if (isOfContainer(path)) return []
  const [, file] = FILE_ADDRESS.exec(text) ?? []
  // Not by a variable, either: HOME is one of the server's.
  const isFile = file !== undefined || isFileKey(path)
  return isFile && isOutside(file ?? text) ? [`${at} names a file of the server`] : []
}

/** What is in there are files of the image, and keys of the config centre. */
const isOfContainer = (path: readonly string[]) =>
  path[0] === 'container' || (path[0] === 'environments' && path[2] === 'container')

/** `registries.ca` has files by host. */
const isFileKey = (path: readonly string[]) =>
  FILE_KEYS.has(path.at(-1) ?? '') || path.at(-2) === 'ca'

const isOutside = (file: string) =>
  isAbsolute(file) ||
  file.includes('${') ||
  posix.normalize(file.replaceAll('\\', '/')).split('/')[0] === '..'

/** Paths of the server's own settings start in its folder, not in the checkout. */
function absolute(text: string, path: readonly string[], folder: string): string {
  if (isOfContainer(path)) return text
  const [, scheme, file] = /^(file|sqlite):(.*)$/s.exec(text) ?? []
  if (scheme !== undefined && file !== undefined && !file.startsWith('$')) {
    return `${scheme}:${resolve(folder, file)}`
  }
  const isPath = isFileKey(path) && !/^(?:\$|\w+:|-----)/.test(text)
  return isPath ? resolve(folder, text) : text
}

function mapTexts(
  value: unknown,
  path: readonly string[],
  change: (text: string, path: readonly string[]) => string,
): unknown {
  if (typeof value === 'string') return change(value, path)
  if (Array.isArray(value)) {
    return value.map((item, index) => mapTexts(item, [...path, String(index)], change))
  }
  const tree = treeOf(value)
  if (tree === undefined) return value
  return Object.fromEntries(
    Object.entries(tree).map(([key, item]) => [key, mapTexts(item, [...path, key], change)]),
  )
}
