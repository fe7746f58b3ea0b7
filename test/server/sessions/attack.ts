import type { SessionRequest } from '../../../src/server/sessions/sessions.ts'
import type { World } from './world.ts'

/** Each is refused, its reason is in the log, and outside it is told no more than `told`. */
export interface Attack {
  reason: string
  /** What its sender may read; default: that it is not accepted, and nothing else. */
  told?: RegExp
}
export type Login = Attack & { token(world: World): Promise<string> | string }
export type Request = Attack & { request(world: World): Promise<SessionRequest> }
export type LoginRequest = Attack & { login(world: World): Promise<SessionRequest> }

export const seconds = () => Math.floor(Date.now() / 1000)
