import t from 'tap'
import { createGithubSource } from '../../src/server/sources/github.ts'
import { createGitlabSource } from '../../src/server/sources/gitlab.ts'
import { fixture, gitea, giteaDelivery } from '../support/signatures.ts'

const github = createGithubSource({ secrets: [gitea.secret] })
const gitlab = createGitlabSource({ secrets: [gitea.secret] })
const read = (name: string) => {
  const { headers, body } = giteaDelivery(name)
  return github.read(headers, JSON.parse(body))
}

t.test('whoever may only read starts nothing by a pull request without a branch', async (t) => {
  const withoutBranch = { ignored: 'pull requests without a branch of the repository are not used' }
  t.strictSame(read('pull_request-opened-agit-by-reader'), withoutBranch)
  t.strictSame(read('pull_request-synchronized-agit-by-reader'), withoutBranch)
  const request = fixture('gitlab/merge_request')
  const { source_project_id: _, ...attributes } = request.object_attributes as {
    source_project_id: number
  }
  const untold = { ...attributes, target_project_id: undefined }
  t.match(gitlab.read({}, { ...request, object_attributes: untold }), {
    ignored: 'merge requests from forks are not used',
  })
})

t.test('a test delivery, which moves nothing, starts nothing', async (t) => {
  const moved = { ignored: 'the branch or tag was not moved: this is a test delivery' }
  t.strictSame(read('test-delivery'), moved)
  const push = fixture('gitlab/push')
  t.strictSame(gitlab.read({}, { ...push, before: push.after }), moved)
})

t.test('what says that nothing is to be built starts nothing', async (t) => {
  const skipped = 'its commit says [skip ci]'
  const push = fixture('gitlab/push')
  const [commit] = (push.commits as object[]).slice(-1)
  const lab = (message: string, more: object = {}) =>
    gitlab.read({}, { ...push, commits: [{ ...commit, message }], total_commits_count: 1, ...more })
  const hub = (message: string) => {
    const told = fixture('github/push') as { head_commit: object }
    const payload = { ...told, head_commit: { ...told.head_commit, message } }
    return github.read({ 'x-github-event': 'push' }, payload)
  }
  for (const word of ['[skip ci]', '[CI skip]', '[no ci]', '[skip actions]', '[ci-skip]']) {
    t.match(lab(`Round\n\n${word}`), { kind: 'push', skipped }, word)
    t.match(hub(`Round\n\n${word}`), { kind: 'push', title: 'Round', skipped }, word)
  }
  t.equal((lab('skip ci') as { skipped?: string }).skipped, undefined)
  t.equal((hub('[skipping ci]') as { skipped?: string }).skipped, undefined)
  const options = { push_options: { ci: { skip: true } } }
  t.match(lab('Round', options), { skipped: 'it was pushed with ci.skip' })
  t.match(lab('Round', { push_options: { ci: {} } }), { skipped: undefined })
  const request = fixture('gitlab/merge_request') as { object_attributes: { last_commit: object } }
  const last_commit = { ...request.object_attributes.last_commit, message: 'x [skip ci]' }
  const object_attributes = { ...request.object_attributes, last_commit }
  t.match(gitlab.read({}, { ...request, object_attributes }), { kind: 'merge-request', skipped })
})

t.test('the commit of an annotated tag is what it points to', async (t) => {
  t.match(read('push-tag-annotated'), {
    ...{ kind: 'tag', ref: 'v1.5.0', title: 'Annotated 1.5.0' },
    commit: 'ac31ad3f11c64a10e9496abd7ba65844e2b281d7',
    push: { before: '', after: 'dc38585686e587ade3c3d85475f7e5551ecee8b8' },
  })
})

t.test('a comment whose author may be anybody is not a member’s', async (t) => {
  t.match(read('comment-by-reader'), { ignored: 'only comments of members are used' })
})
