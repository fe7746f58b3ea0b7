import type { Verb } from '../../src/policy/verbs.ts'
import { type Case, ops, token } from './example.ts'

const deploy = 'deploy webapi staging'

/** Of API tokens, by their scope. */
export const confusedTokens: Case[] = [
  [
    'no scope',
    { ...token(), scope: undefined },
    'deploy webapi test',
    'grants[6] allows it, but the token has no scope',
  ],
  [
    'a scope without verbs',
    token({ verbs: [] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope has no deploy",
  ],
  [
    'a scope with other verbs',
    token({ verbs: ['view'] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope has no deploy",
  ],
  [
    '* is no verb of a scope',
    token({ verbs: ['*' as Verb] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope has no deploy",
  ],
  [
    'a scope without applications',
    token({ apps: [] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope is for no application",
  ],
  [
    'a scope for another application',
    token({ apps: ['shop'] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope is for shop",
  ],
  [
    '* within a name of a scope',
    token({ apps: ['web*'] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope is for web*",
  ],
  [
    'a scope without environments',
    token({ envs: [] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope for deploy is on no environment",
  ],
  [
    'a scope for another environment',
    token({ envs: ['staging'] }),
    'deploy webapi test',
    "grants[6] allows it, but the token's scope for deploy is on staging",
  ],
  [
    'a wider scope',
    token({ verbs: ['rollback'] }),
    'rollback webapi test',
    'grants[6] as pipeline has no rollback',
  ],
  [
    'a wider scope, elsewhere',
    token(),
    'deploy webapi production',
    'grants[6] allows it on test, staging',
  ],
  [
    'a scope without view at the source',
    token({ verbs: ['promote'] }),
    'promote webapi staging test',
    "grants[6] allows it, but promote takes view on test, where it comes from, and the token's scope has no view",
  ],
  [
    'a scope without the source',
    token({ envs: ['staging'] }),
    'promote webapi staging test',
    "grants[6] allows it, but promote takes view on test, where it comes from, and the token's scope for view is on staging",
  ],
  [
    "a token with a person's name",
    token({}, 'user:wang', 'group:team/ops'),
    'deploy webapi production',
    'no grant can name token jenkins',
  ],
  [
    'another token',
    token({}, 'token:Jenkins'),
    'deploy webapi test',
    'no grant names token:Jenkins',
  ],
  [
    'a longer token',
    token({}, 'token:jenkins2'),
    'deploy webapi test',
    'no grant names token:jenkins2',
  ],
  [
    'a scope of a person counts',
    { ...ops, scope: { verbs: ['view'], apps: ['*'], envs: ['*'] } },
    deploy,
    "grants[2] allows it, but the token's scope has no deploy",
  ],
]
