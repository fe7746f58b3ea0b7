import type { LayerFile, LayerPlan } from '../layers.ts'
import type { War } from './war.ts'

export const fileTimes = ['content', 'commit'] as const
export type FileTimes = (typeof fileTimes)[number]

/**
 * Gives what a web server hands out one time, in place of the time of each content: the resources
 * of the WAR, and what is added inside the web application.
 * @param time seconds since 1970
 */
export function setServedTime(plans: LayerPlan[], webapp: string, time: number): LayerPlan[] {
  const inside = `${webapp.replace(/^\/+|\/+$/g, '')}/`
  const timed = (file: LayerFile) => (file.path.startsWith(inside) ? { ...file, time } : file)
  return plans.map((plan) =>
    plan.name === 'resources' || plan.name === 'additions'
      ? { ...plan, files: plan.files.map(timed) }
      : plan,
  )
}

/** Where Spring Boot looks for static files: the web application itself, and four of its packages. */
const STATIC =
  /^(?!META-INF\/|WEB-INF\/)|^WEB-INF\/classes\/(?:META-INF\/resources|resources|static|public)\//

/**
 * Whether Spring Boot serves files of this WAR. It sends no ETag: a browser asks by time only, and
 * whatever is not younger counts as unchanged.
 */
export function isServedBySpringBoot({ entries }: War): boolean {
  return (
    entries.some(({ name }) => /^WEB-INF\/lib\/spring-boot-\d[^/]*\.jar$/.test(name)) &&
    entries.some(({ name }) => STATIC.test(name))
  )
}
