import { toStepError } from '../src/core/errors.ts'
import { actTools } from '../test/engines/act.ts'
import { jenkinsEngine } from '../test/engines/jenkins.ts'
import { springBoot } from '../test/engines/spring-boot.ts'
import type { Tool } from '../test/engines/tools.ts'

// What `npm run test:engines` runs on. A tool that cannot be had skips its tests there, visibly.
const tools: readonly Tool[] = [...actTools, jenkinsEngine, springBoot]
for (const { name, prepare } of tools) {
  const started = Date.now()
  await prepare().then(
    () => console.log(`${name}: ready after ${Math.round((Date.now() - started) / 1000)} s`),
    (error: unknown) => console.warn(`${name}: cannot be had: ${toStepError(error).message}`),
  )
}
