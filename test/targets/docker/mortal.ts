import { StepError } from '../../../src/core/errors.ts'
import type { Host } from '../../../src/targets/docker/host.ts'

/** A host whose deployer is dead after so many changing verbs: from then on every verb fails. */
export function mortal(host: Host, verbs: number): Host {
  let left = verbs
  const dead = () => new StepError('INTERNAL', `host ${host.name}: the deployer is dead`)
  const changing = <Args extends unknown[], Result>(verb: (...args: Args) => Promise<Result>) =>
    alive(async (...args: Args) => {
      if (--left < 0) throw dead()
      return verb(...args)
    })
  const alive =
    <Args extends unknown[], Result>(verb: (...args: Args) => Promise<Result>) =>
    async (...args: Args) => {
      if (left < 0) throw dead()
      return verb(...args)
    }
  return {
    ...host,
    inspect: alive(host.inspect),
    create: changing(host.create),
    placeOnVolumes: changing(host.placeOnVolumes),
    putBack: changing(host.putBack),
    start: changing(host.start),
    stop: changing(host.stop),
    rename: changing(host.rename),
    remove: changing(host.remove),
  }
}
