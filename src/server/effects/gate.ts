import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { isOfScan, SCAN, SCANNER } from '../../core/scanner.ts'
import { objectName } from '../../core/settings/schema.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import { ANY_CONFIG } from '../../gate/facts.ts'
import type { Ledger, Release } from '../../ledger/ledger.ts'
import { standingMarks } from '../../ledger/standing-marks.ts'
import { severities } from '../sources/event.ts'
import { isNotOf, withApplication } from './application.ts'
import type { Effect } from './effect.ts'
import { commandVariables, type WorkerEnvironment } from './worker-environment.ts'

/** `gate:` of a route: how the result of a scan marks a release. */
const settings = z.strictObject({
  folder: z.string().min(1).describe('Folder with crosscloud.yml'),
  environments: z
    .array(objectName)
    .min(1)
    .optional()
    .describe('Environments that are closed to the release; default those with a gate'),
  severity: z
    .enum(severities, `is not a severity; write one of ${severities.join(', ')}`)
    .default('critical')
    .describe('From this severity on the gate is closed'),
  approve: z
    .boolean()
    .default(false)
    .describe(`Whether a clean scan counts as an approval as well, by ${SCANNER}`),
  as: z
    .string()
    .regex(/^[a-z][\w.-]*$/, 'is not a login')
    .default(SCANNER)
    .describe('The name it is written into the ledger under'),
  variables: commandVariables,
})

/** A gate accepts the scanner under this name only: the account for approvals could invent others. */
export const gateSettings = settings.refine(({ approve, as }) => !approve || as === SCANNER, {
  path: ['as'],
  message: `is not ${SCANNER}, by which alone a clean scan approves; leave it out, or approve`,
})

type GateOfScan = z.output<typeof gateSettings>

/** A bad scan marks the release bad; a good scan removes the mark of an earlier scan. */
export function createGateEffect(settings: GateOfScan, worker: WorkerEnvironment): Effect {
  return async ({ facts, receivedAt, signal }) => {
    const { image, scan } = facts
    if (!image || !scan) throw new StepError('INPUT_INVALID', 'the event is about no scan')
    return withApplication(settings, worker, signal, async (application) => {
      const release = await application.releaseOf(image, receivedAt)
      if (release === undefined) return isNotOf(application.app, image)
      const ledger = await application.ledger()
      const environments = settings.environments ?? application.gated
      if (environments.length === 0) throw hasNoGate(application.file)
      const verdict = evaluate(scan, settings.severity)
      for (const environment of environments) {
        await recordScan(ledger, release, environment, verdict, settings)
      }
      const where = environments.join(', ')
      const what = verdict.bad ? `is kept out of ${where}` : `may go to ${where}`
      return { text: `${formatRelease(release)} ${what}: ${verdict.reason}`, state: 'succeeded' }
    })
  }
}

interface Verdict {
  bad: boolean
  reason: string
}

/** A failed scan and an unknown severity count as bad. */
function evaluate(
  { state, severity }: { state: string; severity: string },
  limit: GateOfScan['severity'],
): Verdict {
  if (state !== 'success') return { bad: true, reason: `the scan ended with ${state || 'nothing'}` }
  const found = severities.indexOf(severity.toLowerCase() as GateOfScan['severity'])
  const bad = found < 0 || found >= severities.indexOf(limit)
  return { bad, reason: `the scan found severity ${severity || 'none'}` }
}

async function recordScan(
  ledger: Ledger,
  release: Release,
  environment: string,
  { bad, reason }: Verdict,
  { as: by, approve }: GateOfScan,
): Promise<void> {
  const { app, version, digest } = release
  const marks = (await ledger.marks(app, version)).filter(
    (mark) => mark.environment === environment,
  )
  // The mark of a person stays: a scan removes only its own.
  const own = standingMarks(marks).get(by)
  if (bad ? !own || !isOfScan(own) : own) {
    await ledger.mark({ app, version, environment, bad, by, reason, identity: SCAN })
  }
  if (!approve) return
  const decision = bad ? ('rejected' as const) : ('approved' as const)
  const words = await ledger.approvals(app, environment, version)
  const last = words
    .filter((word) => isOfScan(word) && word.by === by && word.digest === digest)
    .at(-1)
  if (last?.decision === decision && last.configRevision === ANY_CONFIG) return
  await ledger.recordApproval({
    app,
    environment,
    version,
    digest,
    decision,
    by,
    groups: [],
    reason,
    configRevision: ANY_CONFIG,
    identity: SCAN,
  })
}

function hasNoGate(file: string): StepError {
  return new StepError('INPUT_INVALID', `no environment in ${file} has a gate`, {
    hint: 'Write gate: there, or name environments in this route.',
  })
}
