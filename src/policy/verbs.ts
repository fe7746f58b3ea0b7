/** What a role may be made of, in the order of the documentation. */
export const verbs = [
  'view',
  'logs',
  'verify',
  'build',
  'deploy',
  'promote',
  'approve',
  'rollback',
  'cancel',
  'lock',
  'mark',
  'force',
  'operate',
  'events',
  'config-read',
  'config-write',
  'secret-write',
  'audit-read',
  'tokens',
  'agent',
  'admin',
] as const

export type Verb = (typeof verbs)[number]

/** What each verb allows, in one line; docs/policy.md has them as a table. */
export const meanings: Readonly<Record<Verb, string>> = {
  view: 'See the application there: releases, deployments, status, plans. Without it the answer is 404',
  logs: 'Read and follow the logs of instances and runs, and errors that quote them',
  verify: 'Compare the files of running instances with the WAR and the image (`verify-md5`)',
  build:
    'Build releases: start a build, take a version and record what was pushed (`record-release`)',
  deploy: 'Put a release on the environment (`deploy`)',
  promote:
    'Bring a release to the environment from the one before (`promote`); takes `view` at its source',
  approve: "Let a release through the environment's gate, or reject it",
  rollback: 'Bring back what ran there before (`rollback`)',
  cancel: 'Cancel a run of somebody else',
  lock: 'Lock the environment, and unlock it',
  mark: 'Mark a release as good or bad',
  force:
    'Beside `deploy`, `promote` or `rollback`: `--force`, `--older`, `--break-glass`, `--across-migration`',
  operate: 'Start, stop and restart instances, take hosts out of a proxy, prune images',
  events: "See the server's webhook events, retry and drop them",
  'config-read': 'Read config values; secrets stay masked',
  'config-write': 'Change config values that are no secrets',
  'secret-write': 'Set secret config values, which nobody reads back',
  'audit-read': 'Read and export the audit log',
  tokens: 'Create, list and revoke API tokens',
  agent:
    'Carry out what others have asked for, beside the hosts: for agents alone (docs/agents.md)',
  admin: 'Change what concerns the server as a whole: agents, sessions of others',
}

/** Verbs that may be asked of all applications and environments at once, which is written `*`. */
const wide: ReadonlySet<string> = new Set<Verb>(['view', 'events', 'audit-read', 'tokens', 'admin'])

export const isWide = (verb: Verb) => wide.has(verb)

const known: ReadonlySet<string> = new Set(verbs)

export const isVerb = (text: string): text is Verb => known.has(text)
