import type { DeploymentKind, Mark, Release } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { HostChoice } from './host-choice.ts'

/** What must run where, and why; a rollback is such a request, too. */
export interface DeploymentRequest {
  kind: DeploymentKind
  release: Release
  environment: EnvironmentSettings
  reason: string
  hosts: HostChoice
  /** Overrules that the release is known to be bad there; never the gate. */
  force: boolean
  /** Goes past the gate, by a person whom the settings name; never past a mark. */
  breakGlass?: boolean | undefined
  /** Confirms a release older than the release that runs. */
  older: boolean
  /** Takes over instances that have the name and are not ours. */
  adopt?: boolean | undefined
  /** The config's keys as the ledger kept them; else those of now. */
  values?: ReadonlyMap<string, string> | undefined
  /** The config revision that must come of it, where hosts run that already. */
  revision?: string | undefined
  /** It brings a deployment that failed on some of the hosts to those that lack it. */
  finishes?: boolean | undefined
  /** Goes back past a release whose deployment ran a command. */
  acrossMigration?: boolean | undefined
  /** Version of the release that is rolled back from: bad there once this release runs. */
  bad?: string | undefined
  /** Marks of the releases that a rollback passes by. */
  skipped?: readonly Mark[] | undefined
}

/** Neither a rollback, nor what runs already brought to more hosts. */
export function isNew({ kind, revision, finishes }: DeploymentRequest): boolean {
  return kind === 'deploy' && (revision === undefined || finishes === true)
}
