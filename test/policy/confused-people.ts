import { type Case, job, ops, person, qa } from './example.ts'

const deploy = 'deploy webapi staging'

/** Of people: what is asked, by whom, and the first reason of the refusal. */
export const confusedPeople: Case[] = [
  // People
  ['nobody has no name', person(), deploy, 'no grant can name nobody'],
  ["a token's name is no person's", person('token:jenkins'), deploy, 'no grant can name jenkins'],
  [
    'another environment',
    qa,
    'promote webapi production staging',
    'grants[0] allows it on test, staging',
  ],
  ['another application', qa, 'promote shop staging test', 'grants[0] allows it for webapi'],
  [
    'both others',
    qa,
    'promote shop production staging',
    'grants[0] allows it for webapi on test, staging',
  ],
  ['a verb that the role lacks', qa, deploy, 'grants[0] as tester has no deploy'],
  [
    'the id of another account',
    { ...person('user:li'), byId: '8' },
    'force webapi production',
    'no grant names user:li',
  ],
  ['no id', person('user:li'), 'force webapi production', 'no grant names user:li'],
  [
    'the id in the name',
    person('user:li#7'),
    'force webapi production',
    'no grant names user:li#7',
  ],
  ['claims of a person', { ...job(), kind: 'person' }, deploy, 'no grant can name job 4711'],
  // Promotions
  [
    'without a source',
    qa,
    'promote webapi staging',
    'promote takes the environment that the release comes from',
  ],
  [
    'a source that is not seen',
    qa,
    'promote webapi staging production',
    'grants[0] allows it, but promote takes view on production, where it comes from',
  ],
  [
    'no view anywhere',
    person('user:night'),
    'promote webapi staging test',
    'grants[7] allows it, but promote takes view on test, where it comes from',
  ],
  [
    'no view, its own source',
    person('user:night'),
    'promote webapi staging staging',
    'grants[7] allows it, but promote takes view on staging, where it comes from',
  ],
  [
    "a job whose source is another's",
    job(),
    'promote webapi staging production',
    'grants[4] allows it, but promote takes view on production, where it comes from',
  ],
  // Names of questions
  ['* of one application', ops, 'deploy * production', '"*" is not the name of an application'],
  ['* of one environment', ops, 'deploy webapi *', '"*" is not the name of an environment'],
  [
    '* in the middle',
    ops,
    'deploy web*api production',
    '"web*api" is not the name of an application',
  ],
  ['* at the end', ops, 'view webapi prod*', '"prod*" is not the name of an environment'],
  ['* as a source', qa, 'promote webapi staging *', '"*" is not the name of an environment'],
  ['* of a person with a part', qa, 'view * *', 'grants[0] allows it for webapi on test, staging'],
  ['* of all environments of one', qa, 'view webapi *', 'grants[0] allows it on test, staging'],
  [
    'a prototype as application',
    ops,
    'deploy __proto__ production',
    '"__proto__" is not the name of an application',
  ],
  [
    'a prototype as environment',
    ops,
    'deploy webapi __proto__',
    '"__proto__" is not the name of an environment',
  ],
  [
    'a prototype as source',
    ops,
    'promote webapi staging __proto__',
    '"__proto__" is not the name of an environment',
  ],
  ['a prototype as verb', ops, '__proto__ webapi staging', '"__proto__" is not a verb'],
  ['a method as verb', ops, 'constructor webapi staging', '"constructor" is not a verb'],
  ['a verb in capitals', ops, 'Deploy webapi staging', '"Deploy" is not a verb'],
  ['* as verb', ops, '* webapi staging', '"*" is not a verb'],
  ['no verb', ops, ' webapi staging', '"" is not a verb'],
  [
    'an environment in capitals',
    ops,
    'deploy webapi Production',
    '"Production" is not the name of an environment',
  ],
  [
    'a look-alike',
    ops,
    'deploy webapi pr\u043eduction',
    '"pr\u043eduction" is not the name of an environment',
  ],
  [
    'full width',
    ops,
    'deploy \uff57ebapi production',
    '"\uff57ebapi" is not the name of an application',
  ],
  [
    'a zero width space',
    ops,
    'deploy webapi production\u200b',
    '"production\u200b" is not the name of an environment',
  ],
  ['a path', ops, 'deploy ../webapi production', '"../webapi" is not the name of an application'],
  [
    'a line feed',
    ops,
    'deploy webapi production\n',
    '"production\\n" is not the name of an environment',
  ],
  ['no application', ops, 'deploy', '"" is not the name of an application'],
  ['no environment', ops, 'deploy webapi', '"" is not the name of an environment'],
]
