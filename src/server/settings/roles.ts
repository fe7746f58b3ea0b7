/** Roles of a server process: it receives deliveries, works on events, or both. */
export const roles = ['all', 'receive', 'work'] as const
export type Role = (typeof roles)[number]

export const SERVER_FILE = 'crosscloud.server.yml'
