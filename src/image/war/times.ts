import type { LayerFile, LayerPlan } from '../layers.ts'
import { tarPath } from '../paths.ts'
import type { War } from './war.ts'

export const fileTimes = ['content', 'commit'] as const
export type FileTimes = (typeof fileTimes)[number]

/**
 * Sets one time for all files that a web server serves, in place of the times by content: the
 * resources of the WAR, and additions inside the web application.
 * @param time seconds since 1970
 */
export function setServedTime(plans: LayerPlan[], webapp: string, time: number): LayerPlan[] {
  const inside = `${tarPath(webapp)}/`
  const timed = (file: LayerFile) => (file.path.startsWith(inside) ? { ...file, time } : file)
  return plans.map((plan) =>
    plan.name === 'resources' || plan.name === 'additions'
      ? { ...plan, files: plan.files.map(timed) }
      : plan,
  )
}

/** Where Spring Boot finds static files: in the web application itself and in four packages. */
const STATIC =
  /^(?!META-INF\/|WEB-INF\/)|^WEB-INF\/classes\/(?:META-INF\/resources|resources|static|public)\//

/**
 * Whether Spring Boot serves files of this WAR. It sends no ETag, so browsers compare times only,
 * and a file that is not newer counts as unchanged.
 */
export function isServedBySpringBoot({ entries }: War): boolean {
  return (
    entries.some(({ name }) => /^WEB-INF\/lib\/spring-boot-\d[^/]*\.jar$/.test(name)) &&
    entries.some(({ name }) => STATIC.test(name))
  )
}
