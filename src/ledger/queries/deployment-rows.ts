import type { Selectable } from 'kysely'
import { type Digest, parseDigest } from '../../core/digest.ts'
import {
  checkAmount,
  checkFilled,
  checkName,
  checkText,
  checkTime,
  checkVersion,
  invalid,
} from '../database/names.ts'
import type { DeploymentHostsTable, DeploymentsTable } from '../database/schema.ts'
import type { BreakGlass } from '../ledger.ts'
import {
  type Deployment,
  type DeploymentEnd,
  type DeploymentStart,
  type DeploymentState,
  deploymentKinds,
  type InstanceOutcome,
} from '../ledger.ts'

export function checkStart(start: DeploymentStart): void {
  checkName('application', start.app)
  checkName('environment', start.environment)
  checkVersion(start.version)
  const what = `${start.app}@${start.version} in ${start.environment}`
  parseDigest(start.digest, `digest of ${what}`)
  checkFilled(`${what}: config revision`, start.configRevision, 128)
  checkFilled(`${what}: by`, start.by, 255)
  checkText(`${what}: reason`, start.reason)
  checkText(`${what}: identity`, start.identity, 255)
  checkText(`${what}: job URL`, start.jobUrl)
  if (start.kind !== undefined && !deploymentKinds.includes(start.kind)) {
    throw invalid(`${what}: "${start.kind}" is not a kind of deployment`)
  }
  if (start.lockToken !== undefined) checkAmount(`${what}: lock token`, start.lockToken)
  if (start.breakGlass) {
    checkFilled(`${what}: reason to go past the gate`, start.reason ?? '')
    checkText(`${what}: id`, start.breakGlass.byId, 64)
  }
  for (const { name, address } of start.hosts ?? []) {
    checkFilled(`${what}: host`, name, 255)
    checkFilled(`${what}: address of ${name}`, address, 255)
  }
}

export function checkEnd(id: string, end: DeploymentEnd): void {
  const what = `deployment ${id}`
  if (!['succeeded', 'failed', 'abandoned'].includes(end.state)) {
    throw invalid(`${what}: cannot end as "${end.state}"`)
  }
  if (end.bad && end.state !== 'succeeded') throw invalid(`${what}: ${end.state}, and marks`)
  checkText(`${what}: error`, end.error)
  if (end.finishedAt !== undefined) checkTime(`${what}: finishedAt`, end.finishedAt)
  for (const host of end.hosts) {
    checkFilled(`${what}: host`, host.host, 255)
    checkText(`${what}: container of ${host.host}`, host.containerId, 255)
    checkText(`${what}: previous container of ${host.host}`, host.previousContainerId, 255)
    checkText(`${what}: URL of ${host.host}`, host.url)
    checkAmount(`${what}: duration on ${host.host}`, host.duration)
  }
  const names = end.hosts.map((host) => host.host)
  const twice = names.find((name, position) => names.indexOf(name) !== position)
  if (twice !== undefined) throw invalid(`${what}: host ${twice} is named twice`)
}

export const approvalId = (number: number): string => `a${number}`

/** The number behind `d7` or `a7`; undefined when it is no such id. */
export function numberIn(id: string, letter: 'a' | 'd'): number | undefined {
  const number = new RegExp(`^${letter}([1-9]\\d{0,15})$`).exec(id)?.[1]
  return number === undefined ? undefined : Number(number)
}

export function toRow(
  start: DeploymentStart,
  number: number,
  started_at: string,
  replaced: string | null,
): Selectable<DeploymentsTable> {
  return {
    id: `d${number}`,
    number,
    app: start.app,
    environment: start.environment,
    version: start.version,
    digest: start.digest,
    config_revision: start.configRevision,
    started_by: start.by,
    reason: start.reason ?? null,
    state: 'running',
    started_at,
    finished_at: null,
    error: null,
    verified: 0,
    kind: start.kind ?? 'deploy',
    lock_token: start.lockToken ?? null,
    replaced,
    identity: start.identity ?? null,
    job_url: start.jobUrl ?? null,
    forced: start.forced ? 1 : 0,
  }
}

/** What belongs to a deployment beside its row. */
export interface DeploymentDetails {
  hosts: readonly Selectable<DeploymentHostsTable>[]
  approvals: readonly number[]
  breakGlass: BreakGlass | undefined
  /** Whether it is running and its deployer is gone, by its lock. */
  lost: boolean
}

const LOST = 'its deployer has not been heard of since its lock expired'

export function fromRow(
  row: Selectable<DeploymentsTable>,
  { hosts, approvals, breakGlass, lost }: DeploymentDetails,
): Deployment {
  const state: DeploymentState = lost ? 'abandoned' : row.state
  return {
    id: row.id,
    app: row.app,
    version: row.version,
    environment: row.environment,
    digest: row.digest as Digest,
    configRevision: row.config_revision,
    by: row.started_by,
    reason: row.reason ?? undefined,
    state,
    startedAt: row.started_at,
    finishedAt: row.finished_at ?? undefined,
    error: lost ? LOST : (row.error ?? undefined),
    hosts: hosts.map(fromHostRow),
    verified: row.verified === 1,
    kind: row.kind,
    lockToken: row.lock_token ?? undefined,
    replaced: row.replaced ?? undefined,
    identity: row.identity ?? undefined,
    jobUrl: row.job_url ?? undefined,
    forced: row.forced === 1,
    approvals: approvals.map(approvalId),
    breakGlass,
  }
}

export function toHostRow(
  deployment: string,
  outcome: InstanceOutcome,
  position: number,
): DeploymentHostsTable {
  return {
    deployment,
    position,
    host: outcome.host,
    container_id: outcome.containerId ?? null,
    previous_container_id: outcome.previousContainerId ?? null,
    url: outcome.url ?? null,
    ok: outcome.ok ? 1 : 0,
    duration: outcome.duration,
  }
}

function fromHostRow(row: Selectable<DeploymentHostsTable>): InstanceOutcome {
  return {
    host: row.host,
    containerId: row.container_id ?? undefined,
    previousContainerId: row.previous_container_id ?? undefined,
    url: row.url ?? undefined,
    ok: row.ok === 1,
    duration: row.duration,
  }
}
