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

t.test('a comment whose author may be anybody is not a member’s', async (t) => {
  t.match(read('comment-by-reader'), { ignored: 'only comments of members are used' })
})
