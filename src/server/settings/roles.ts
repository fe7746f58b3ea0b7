/** What a process of the server does: take deliveries, work on events, or both. */
export const roles = ['all', 'receive', 'work'] as const
export type Role = (typeof roles)[number]

export const SERVER_FILE = 'crosscloud.server.yml'
