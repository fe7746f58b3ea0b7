import { userInfo } from 'node:os'
import t from 'tap'
import { createContext } from '../../src/context.ts'
import { silentLog } from '../../src/core/log.ts'
import { createSecrets } from '../../src/core/secrets.ts'

const actor = (variables: Record<string, string>) =>
  createContext({
    cwd: '.',
    variables,
    log: silentLog,
    secrets: createSecrets(),
    signal: new AbortController().signal,
  }).actor

/** What an agent's environment may hold of all three. */
const all = {
  GITLAB_USER_LOGIN: 'of-gitlab',
  CI_COMMIT_SHA: 'a',
  CI_COMMIT_REF_NAME: 'gitlab-branch',
  CI_COMMIT_AUTHOR: 'author',
  CI_JOB_URL: 'https://gitlab.test/1',
  GITHUB_ACTOR: 'of-github',
  GITHUB_SHA: 'b',
  GITHUB_REF_NAME: 'github-branch',
  GITHUB_RUN_ID: '7',
  GITHUB_SERVER_URL: 'https://github.test',
  GITHUB_REPOSITORY: 'a/b',
  BUILD_USER_ID: 'of-jenkins',
  GIT_COMMIT: 'c',
  BRANCH_NAME: 'jenkins-branch',
  BUILD_URL: 'https://ci.test/1',
}

t.test(
  'the actor comes from the variables of the CI system that runs this, and of no other',
  async (t) => {
    t.match(actor({ ...all, JENKINS_URL: 'https://ci.test' }), {
      by: 'of-jenkins',
      commit: 'c',
      branch: 'jenkins-branch',
      author: undefined,
      jobUrl: 'https://ci.test/1',
      pipelineUrl: 'https://ci.test/1',
    })
    t.match(actor({ ...all, GITHUB_ACTIONS: 'true' }), {
      by: 'of-github',
      commit: 'b',
      branch: 'github-branch',
      author: undefined,
      jobUrl: undefined,
      pipelineUrl: 'https://github.test/a/b/actions/runs/7',
    })
    t.match(actor({ ...all, GITLAB_CI: 'true' }), {
      by: 'of-gitlab',
      commit: 'a',
      branch: 'gitlab-branch',
      author: 'author',
      jobUrl: 'https://gitlab.test/1',
      pipelineUrl: undefined,
    })
  },
)

t.test(
  "the actor comes from a Jenkins without an address, too, and from crosscloud's server",
  async (t) => {
    t.match(actor({ ...all, JENKINS_HOME: '/var/jenkins_home' }), { by: 'of-jenkins' })
    t.match(actor({ ...all, CROSSCLOUD_SERVER: 'true' }), { by: 'of-gitlab', commit: 'a' })
  },
)

t.test('a shell without the mark of any system may pass on variables of one', async (t) => {
  t.match(actor({ BUILD_USER_ID: 'li' }), { by: 'li' })
  t.match(actor(all), { by: 'of-gitlab', commit: 'a', author: 'author' })
})

t.test('outside CI the actor is the user of this machine', async (t) => {
  t.match(actor({}), { by: userInfo().username, commit: undefined, branch: undefined })
  t.match(actor({ GITLAB_CI: 'true', BUILD_USER_ID: 'li' }), { by: userInfo().username })
})
