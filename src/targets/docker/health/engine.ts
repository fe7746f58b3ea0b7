import type Docker from 'dockerode'
import type { ContainerInfo } from '../host.ts'

/** What the engine says about the container's own HEALTHCHECK. */
export function engineHealth({
  Config,
  State,
}: Docker.ContainerInspectInfo): Pick<ContainerInfo, 'hasHealthCheck' | 'health'> {
  const test = Config.Healthcheck?.Test ?? []
  const { Status, Log = [] } = State.Health ?? {}
  return {
    hasHealthCheck: test.length > 0 && test[0] !== 'NONE',
    health:
      Status === undefined || Status === 'none'
        ? undefined
        : { status: Status, output: Log?.at(-1)?.Output.trim() ?? '' },
  }
}
