import type { Browser } from './browser.ts'
import { SESSION, type World } from './world.ts'

export interface Attack {
  /** In log and audit; undefined where nothing is recorded, as of sessions that are over. */
  reason: string | undefined
  status?: number
  /** The last answer that the attacker gets. */
  run(world: World, browser: Browser): Promise<{ status: number; text: string }>
}

export async function loggedIn(world: World, browser: Browser): Promise<string> {
  await world.login(browser)
  return browser.cookie(world.url, SESSION) ?? ''
}
