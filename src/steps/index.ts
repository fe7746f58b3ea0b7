import type { Step } from './step.ts'

/** Every step, in pipeline order; the last two run the others. Each loads by itself. */
const modules = {
  'build-war': async () => (await import('./build-war.ts')).buildWar,
  'bake-image': async () => (await import('./bake-image.ts')).bakeImage,
  'push-image': async () => (await import('./push-image.ts')).pushImage,
  'record-release': async () => (await import('./record-release.ts')).recordRelease,
  'retag-image': async () => (await import('./retag-image.ts')).retagImage,
  'render-config': async () => (await import('./render-config.ts')).renderConfig,
  deploy: async () => (await import('./deploy.ts')).deploy,
  'verify-md5': async () => (await import('./verify-md5.ts')).verifyMd5,
  approve: async () => (await import('./approve.ts')).approve,
  rollback: async () => (await import('./rollback.ts')).rollback,
  release: async () => (await import('./release.ts')).release,
  promote: async () => (await import('./promote.ts')).promote,
}

export const stepNames = Object.keys(modules)

/** One step, or undefined when there is none of this name. */
export async function loadStep(name: string): Promise<Step | undefined> {
  const load = Object.hasOwn(modules, name) ? modules[name as keyof typeof modules] : undefined
  return (await load?.()) as Step | undefined
}

export async function loadSteps(): Promise<Step[]> {
  const steps = await Promise.all(stepNames.map(loadStep))
  return steps.filter((step) => step !== undefined)
}
