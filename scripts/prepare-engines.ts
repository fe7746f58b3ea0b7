import { toStepError } from '../src/core/errors.ts'
import { silentLog } from '../src/core/log.ts'
import { installPackages, missingPackages } from '../src/demo/packages.ts'
import { actTools } from '../test/engines/act.ts'
import { jenkinsEngine } from '../test/engines/jenkins.ts'
import { springBoot } from '../test/engines/spring-boot.ts'
import type { Tool } from '../test/engines/tools.ts'

const podman: Tool = {
  name: 'podman',
  async prepare() {
    await installPackages(await missingPackages(['test engines']), { log: silentLog })
  },
}

// What `npm run test:engines` runs on. A tool that cannot be had skips its tests there, visibly.
const tools: readonly Tool[] = [...actTools, jenkinsEngine, springBoot, podman]
for (const { name, prepare } of tools) {
  const started = Date.now()
  await prepare().then(
    () => console.log(`${name}: ready after ${Math.round((Date.now() - started) / 1000)} s`),
    (error: unknown) => console.warn(`${name}: cannot be had: ${toStepError(error).message}`),
  )
}
