import { type Digest, isDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'

/** A repository of one registry: `harbor.example.com` and `team/webapi`. */
export interface Repository {
  /** Host with an optional port, as it is dialled: `docker.io` has become `registry-1.docker.io`. */
  readonly registry: string
  readonly name: string
}

/** What an image is called: a repository and a tag, a digest, or both. A reference is not a URL. */
export interface Reference extends Repository {
  readonly tag?: string
  readonly digest?: Digest
}

const DOCKER_HUB = 'registry-1.docker.io'
/** OCI distribution-spec, "Pulling manifests": <name> and <reference>. */
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const HOST =
  /^(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)(?::\d{1,5})?$/

/** Whether a text can name a repository inside a registry; such a name is also a safe path. */
export function isRepositoryName(text: string): boolean {
  return text.length <= 255 && NAME.test(text)
}

export function isTag(text: string): boolean {
  return TAG.test(text)
}

/** Reads `[registry/]name[:tag][@digest]`. Without a registry it is Docker Hub's, as docker reads it. */
export function parseReference(text: string): Reference {
  const bad = (why: string) =>
    new StepError('INPUT_INVALID', `image "${text}": ${why}`, {
      hint: 'An image is written registry/project/name:tag or registry/project/name@sha256:….',
    })
  if (/^[a-z]+:\/\//i.test(text)) throw bad('a reference is not a URL; leave out the scheme')
  const [rest = '', digestText, ...more] = text.split('@')
  if (more.length > 0) throw bad('more than one @')
  if (digestText !== undefined && !isDigest(digestText))
    throw bad(`"${digestText}" is not a digest`)
  const { registry, path } = splitRegistry(rest)
  const colon = path.indexOf(':')
  const name = colon < 0 ? path : path.slice(0, colon)
  const tag = colon < 0 ? undefined : path.slice(colon + 1)
  if (!HOST.test(registry)) throw bad(`"${registry}" is not a registry host`)
  if (!NAME.test(name) || name.length > 255) {
    throw bad(
      `"${name}" is not a repository name (lower-case letters, digits, and . _ - / between)`,
    )
  }
  if (tag !== undefined && !TAG.test(tag)) throw bad(`"${tag}" is not a tag`)
  return {
    registry,
    name,
    ...(tag === undefined ? {} : { tag }),
    ...(digestText === undefined ? {} : { digest: digestText }),
  }
}

function splitRegistry(text: string): { registry: string; path: string } {
  const slash = text.indexOf('/')
  const first = slash < 0 ? '' : text.slice(0, slash)
  if (first.includes('.') || first.includes(':') || first === 'localhost') {
    const onHub = first === 'docker.io' || first === 'index.docker.io'
    const path = text.slice(slash + 1)
    if (!onHub) return { registry: first, path }
    return { registry: DOCKER_HUB, path: path.includes('/') ? path : `library/${path}` }
  }
  return { registry: DOCKER_HUB, path: slash < 0 ? `library/${text}` : text }
}

/** A reference without tag and digest: the place where images of one name are kept. */
export function parseRepository(text: string): Repository {
  const { registry, name, tag, digest } = parseReference(text)
  if (tag === undefined && digest === undefined) return { registry, name }
  throw new StepError('INPUT_INVALID', `repository "${text}" has a tag or a digest`, {
    hint: `Write ${formatRepository({ registry, name })}.`,
  })
}

export function formatRepository({ registry, name }: Repository): string {
  return registry === DOCKER_HUB ? `docker.io/${name}` : `${registry}/${name}`
}

export function formatReference(reference: Reference): string {
  const { tag, digest } = reference
  return `${formatRepository(reference)}${tag ? `:${tag}` : ''}${digest ? `@${digest}` : ''}`
}

export function withTag({ registry, name }: Repository, tag: string): Reference {
  if (!TAG.test(tag)) {
    throw new StepError('INPUT_INVALID', `"${tag}" cannot be an image tag`, {
      hint: 'A tag is 1 to 128 letters, digits and . _ -, and starts with a letter or digit.',
    })
  }
  return { registry, name, tag }
}

export function withDigest({ registry, name }: Repository, digest: Digest): Reference {
  return { registry, name, digest }
}

export function sameRepository(a: Repository, b: Repository): boolean {
  return a.registry === b.registry && a.name === b.name
}

/** An image by digest as a person may copy it. */
export function imageByDigest(repository: { registry: string; name: string }, digest: string) {
  const { registry, name } = repository
  return formatReference(parseReference(`${registry}/${name}@${digest}`))
}
