import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import { isStepError } from '../../core/errors.ts'
import { parseReference } from '../../registry/reference.ts'
import { type EventFacts, severities } from './event.ts'
import {
  anySecret,
  type Delivery,
  header,
  payloadText,
  projectPath,
  type Reading,
  readPayload,
  type Source,
  sha256Hex,
} from './source.ts'

/**
 * Webhooks of Harbor (https://goharbor.io/docs/2.12.0/working-with-projects/project-configuration/configure-webhooks/),
 * in its own format and as CloudEvents. The secret is the whole Authorization header, or what
 * follows `Bearer`.
 */
export function createHarborSource({ secrets }: { secrets: readonly string[] }): Source {
  const accepted = secrets.flatMap((secret) => [secret, `Bearer ${secret}`])
  return {
    signed: () => false,
    redelivers: true,
    authenticate({ headers, body }: Delivery) {
      const given = header(headers, 'authorization')
      if (given === undefined) return { refused: 'missing' }
      // Harbor delivers again what got no response: the same bytes, with a timestamp in them.
      return anySecret(given, accepted) ? { id: sha256Hex(body) } : { refused: 'wrong' }
    },
    read: (_headers: IncomingHttpHeaders, payload: unknown) => read(payload),
  }
}

const shape = z.object({
  type: payloadText(80),
  specversion: z.string().optional(),
  operator: payloadText(255).optional(),
})

/** The names of the same events in CloudEvents. */
const cloudNames: Readonly<Record<string, string>> = {
  'harbor.artifact.pushed': 'PUSH_ARTIFACT',
  'harbor.scan.completed': 'SCANNING_COMPLETED',
  'harbor.scan.failed': 'SCANNING_FAILED',
}

function read(payload: unknown): Reading {
  const event = readPayload(shape, payload)
  const type = event.specversion === undefined ? event.type : (cloudNames[event.type] ?? event.type)
  if (type === 'PUSH_ARTIFACT') return readPush(dataOf(event.specversion, payload))
  if (type === 'SCANNING_COMPLETED') return readScan(dataOf(event.specversion, payload), undefined)
  if (type === 'SCANNING_FAILED') return readScan(dataOf(event.specversion, payload), 'failed')
  return { ignored: `events of type ${type} are not used` }
}

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'is not a digest')
const resource = z.object({
  digest,
  tag: payloadText(128).optional(),
  resource_url: z.string().max(600),
  scan_overview: z
    .record(
      z.string(),
      z.object({ scan_status: payloadText(40).optional(), severity: payloadText(40).optional() }),
    )
    .nullish(),
  sbom_overview: z.unknown().optional(),
})
const eventData = z.object({
  // Since 2.11: before that, only vulnerabilities were scanned for.
  scan: z.object({ scan_type: payloadText(40).optional() }).nullish(),
  repository: z.object({ repo_full_name: projectPath }),
  resources: z.array(resource).min(1),
})
type EventData = z.output<typeof eventData> & { operator?: string | undefined }

/** Both formats have the operator beside the data: in CloudEvents it is an extension. */
function dataOf(specversion: string | undefined, payload: unknown): EventData {
  const operator = payloadText(255).optional()
  if (specversion !== undefined) {
    const cloud = readPayload(z.object({ operator, data: eventData }), payload)
    return { ...cloud.data, operator: cloud.operator }
  }
  const own = readPayload(z.object({ operator, event_data: eventData }), payload)
  return { ...own.event_data, operator: own.operator }
}

/** Tags of cosign, and of the fallback for the referrers API of a registry. */
const ACCESSORY = /^sha256-[0-9a-f]{64}(?:\.\w+)?$/

function readPush(data: EventData): Reading {
  const facts = factsOf(data)
  if ('ignored' in facts) return facts
  if (ACCESSORY.test(data.resources[0]?.tag ?? '')) {
    return { ignored: 'signatures and other accessories of an image are not used' }
  }
  return { ...facts, kind: 'artifact' }
}

function readScan(data: EventData, state: string | undefined): Reading {
  const facts = factsOf(data)
  if ('ignored' in facts) return facts
  if (!isOfVulnerabilities(data)) return { ignored: 'only scans for vulnerabilities are used' }
  // One report for each format; the worst counts.
  const reports = Object.values(data.resources[0]?.scan_overview ?? {})
  const worst = reports.reduce<(typeof reports)[number] | undefined>(
    (found, report) => (found && rank(report.severity) <= rank(found.severity) ? found : report),
    undefined,
  )
  const bad = reports.find(({ scan_status }) => scan_status?.toLowerCase() !== 'success')
  const end = state ?? (bad ?? worst)?.scan_status?.toLowerCase() ?? ''
  return { ...facts, kind: 'scan', scan: { state: end, severity: worst?.severity ?? '' } }
}

/** Harbor sends the same events for a list of materials (SBOM), which rates nothing. */
function isOfVulnerabilities({ scan, resources: [first] }: EventData): boolean {
  if (scan?.scan_type !== undefined) return scan.scan_type.toLowerCase() === 'vulnerability'
  return first?.scan_overview != null || first?.sbom_overview == null
}

/** An unknown severity counts as the worst, so that the gate sees it. */
const rank = (severity: string | undefined) => {
  const known = (severities as readonly string[]).indexOf(severity?.toLowerCase() ?? '')
  return known < 0 ? severities.length : known
}

function factsOf({ operator, repository, resources }: EventData): EventFacts | { ignored: string } {
  const [first] = resources
  if (first === undefined) return { ignored: 'it names no artifact' }
  const { repo_full_name: project } = repository
  const registry = registryOf(first.resource_url)
  if (registry === undefined) return { ignored: 'its resource_url is no reference with a host' }
  const tag = first.tag === undefined || first.tag === first.digest ? '' : first.tag
  return {
    source: 'harbor',
    via: 'harbor',
    kind: 'artifact',
    project,
    ref: '',
    commit: '',
    by: operator ?? '',
    title: `${project}${tag && `:${tag}`}`,
    url: '',
    image: { registry, repository: project, digest: first.digest, tag },
  }
}

/** `harbor.example.com` of `harbor.example.com/team/webapi:1.4.2`. */
function registryOf(url: string): string | undefined {
  try {
    const { registry } = parseReference(url)
    // A reference without a host means Docker Hub.
    return url.startsWith(`${registry}/`) ? registry : undefined
  } catch (error) {
    if (isStepError(error)) return undefined
    throw error
  }
}
