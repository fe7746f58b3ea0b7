import t from 'tap'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { parseInputs } from '../../src/steps/inputs.ts'

const problems = (values: Record<string, unknown>): string[] => {
  try {
    parseInputs(bakeImage, values)
    return []
  } catch (error) {
    return (error as Error).message.split('\n')
  }
}
const some = { app: 'webapi', war: 'webapi.war', webapp: '/srv/ROOT' }

t.test('a base is needed without docker, and reported with all that is missing', async (t) => {
  t.match(problems({}), [/--app/, /--war/, /--webapp/, /^`--base` is required$/])
  t.strictSame(problems({ ...some, base: 'scratch' }), [])
  t.match(problems({ ...some, base: 'https://x' }), [/^`--base` .*not a URL/])
})

t.test('each builder has inputs that mean nothing to the other', async (t) => {
  const docker = { ...some, builder: 'docker' }
  t.strictSame(problems({ ...docker, target: 'web', buildArgs: ['A=b'] }), [])
  t.match(problems({ ...docker, base: 'scratch', add: ['a:/a'], startScript: true }), [
    /^`--base` is not for builder docker/,
    /^`--add` is not for builder docker/,
    /^`--start-script` is not for builder docker/,
  ])
  t.match(problems({ ...some, base: 'scratch', context: '.', buildArgs: ['A=b'] }), [
    /^`--context` is for builder docker only/,
    /^`--build-args` is for builder docker only/,
  ])
})
