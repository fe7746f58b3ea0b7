import type { EnvironmentSettings } from '../../settings.ts'
import type { DeploymentRequest } from '../deployment/request.ts'

/** A deployment that is not made, but looked at. */
export interface PlanRequest extends DeploymentRequest {
  /** Of a promotion: the environment whose image is brought along. */
  source?: EnvironmentSettings | undefined
  /** How long the deployment would wait for somebody else's lock, in milliseconds. */
  lockWait?: number | undefined
}
