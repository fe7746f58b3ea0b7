import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createHttpClient } from '../../../src/core/http/client.ts'
import { silentLog } from '../../../src/core/log.ts'
import { createFollows, giteaAccess } from '../../../src/server/platforms/gitea.ts'
import { callGithub } from '../../../src/server/platforms/github.ts'
import { createGiteaSource, type Follows } from '../../../src/server/sources/gitea.ts'
import { createGithubSource } from '../../../src/server/sources/github.ts'
import { createGitlabSource } from '../../../src/server/sources/gitlab.ts'
import type { Reading } from '../../../src/server/sources/source.ts'
import { fixture, type GiteaDelivery, gitea, giteaDelivery } from '../../support/data/signatures.ts'

const github = createGithubSource({ secrets: [gitea.secret] })
const gitlab = createGitlabSource({ secrets: [gitea.secret] })
const tea = createGiteaSource({ secrets: [gitea.secret] })
const payloadOf = ({ headers, body }: GiteaDelivery): unknown =>
  JSON.parse(
    headers['content-type'] === 'application/json'
      ? body
      : (new URLSearchParams(body).get('payload') ?? ''),
  )
const read = (name: string) => {
  const delivery = giteaDelivery(name)
  return tea.read(delivery.headers, payloadOf(delivery))
}

t.test('a pull request without a branch, which a reader may open, starts nothing', async (t) => {
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

t.test('a commit with [skip ci] starts nothing', async (t) => {
  const skipped = 'its commit says [skip ci]'
  const push = fixture('gitlab/push')
  const [commit] = (push.commits as object[]).slice(-1)
  const lab = (message: string, more: object = {}) =>
    gitlab.read({}, { ...push, commits: [{ ...commit, message }], total_commits_count: 1, ...more })
  const hub = (message: string) => {
    const pushed = fixture('github/push') as { head_commit: object }
    const payload = { ...pushed, head_commit: { ...pushed.head_commit, message } }
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

t.test('the commit of an annotated tag is the one it points to', async (t) => {
  t.match(read('push-tag-annotated'), {
    kind: 'tag',
    ref: 'v1.5.0',
    title: 'Annotated 1.5.0',
    commit: 'ac31ad3f11c64a10e9496abd7ba65844e2b281d7',
    push: { before: '', after: 'dc38585686e587ade3c3d85475f7e5551ecee8b8' },
  })
})

t.test('a comment is ignored, as its author may be anybody', async (t) => {
  const nobody = 'comments are not used: Gitea does not tell whether their author is a member'
  for (const name of ['comment-by-reader', 'comment-on-pull-request', 'comment-on-issue']) {
    t.strictSame(read(name), { ignored: nobody }, name)
  }
  const commented = fixture('github/issue_comment') as { comment: object }
  const comment = { ...commented.comment, author_association: undefined }
  t.strictSame(github.read({ 'x-github-event': 'issue_comment' }, { ...commented, comment }), {
    ignored: 'only comments of members are used',
  })
})

t.test('every recorded delivery of a real Gitea is read', async (t) => {
  const comment = { ignored: /^comments are not used/ }
  const fork = { ignored: 'pull requests from forks are not used' }
  const other = { ignored: /^only pull requests that are opened/ }
  const unused = { ignored: /^events of kind \w+ are not used$/ }
  const test = { ignored: /test delivery/ }
  const branch = 'feature/preise-größe-价格'
  const push = { kind: 'push', source: 'gitea', via: 'gitea', project: 'team/webapi', by: 'li' }
  const main = { ...push, ref: 'main' }
  const made = { push: { before: '' }, paths: undefined }
  const request = { kind: 'merge-request', project: 'team/webapi', ref: branch, by: 'li' }
  const expected: Record<string, object> = {
    'push-first': { ...main, ...made, title: 'Round prices to cents', url: /\/compare\// },
    'push-one-commit': { ...main, commit: /^ac31ad3f/, paths: Array },
    'push-new-branch-nonascii': { ...push, ref: branch, ...made, title: /^Größe und 价格/ },
    'push-nonascii': { ...push, ref: branch, title: 'Docs again' },
    'push-new-branch-odd-name': { ...push, ref: 'fix/100%+#7&a=b;c😀', ...made },
    'push-forced-replaces-docs-commit': { ...push, ref: 'work', push: { before: /^5e696185/ } },
    'push-8-commits-5-told': { ...push, ref: 'work', paths: undefined, title: 'M8: src' },
    'push-new-branch-at-known-commit': { ...push, ref: 'same-commit', ...made },
    'push-tag-lightweight': { ...push, kind: 'tag', ref: 'v1.4.0', commit: /^ac31ad3f/ },
    'push-tag-annotated': { ...push, kind: 'tag', ref: 'v1.5.0', commit: /^ac31ad3f/ },
    'push-tag-deleted': { ignored: 'the branch or tag was deleted' },
    'push-of-that-merge': { ...main, title: /^Merge pull request 'Renamed title'/ },
    'push-squash-merge': { ...main, by: 'wang', title: 'Squashed: größe' },
    'push-after-rename': { ...push, project: 'team/Web.API_1', ...made },
    'push-after-transfer': { ...push, project: 'zhao/Web.API_1', by: 'boss' },
    'push-by-contents-api': { ...push, ref: 'x-web', title: 'Add 价格 by the API' },
    'push-by-deploy-key': { ...push, ref: 'by-deploy-key', by: 'team' },
    'push-tag-of-pull-mirror': { kind: 'tag', project: 'team/mirrored', ref: 'm1', title: '' },
    'redelivery-of-push-first': { ...main, ...made },
    'redelivery-of-one-that-failed': { ...push, title: 'pushed while the server is away' },
    'org-and-repo-hook-1': { ...push, title: 'org and repo hook' },
    'pull_request-opened': { ...request, commit: /^15a27ea1/, request: { number: 1 } },
    'pull_request-synchronized': { ...request, commit: /^942b18b7/ },
    'pull_request-reopened': { ...request, commit: /^942b18b7/ },
    'pull_request-opened-agit-by-reader': { ignored: /without a branch/ },
    'pull_request-synchronized-agit-by-reader': { ignored: /without a branch/ },
    'pull_request-opened-from-fork': fork,
    'pull_request-synchronized-from-fork': fork,
    'pull_request-closed-fork-deleted': fork,
    ...Object.fromEntries(
      ['closed', 'edited', 'closed-merged'].map((one) => [`pull_request-${one}`, other]),
    ),
    ...Object.fromEntries(
      ['assigned', 'label_updated', 'milestoned'].map((one) => [`pull_request-${one}`, unused]),
    ),
    ...Object.fromEntries(
      ['on-pull-request', 'by-reader', 'edited', 'deleted', 'on-issue'].map((one) => [
        `comment-${one}`,
        comment,
      ]),
    ),
    'review-comment': comment,
    ...Object.fromEntries(
      [
        ...['create-branch', 'delete-branch', 'create-tag', 'delete-tag', 'review-approved'],
        ...['review-rejected', 'issues-opened', 'fork', 'release-published', 'release-updated'],
        ...['repository-created', 'repository-deleted'],
      ].map((one) => [one, unused]),
    ),
    ...Object.fromEntries(
      [
        ...['test-delivery', 'test-delivery-again', 'no-secret', 'wrong-secret'],
        ...['content-type-form', 'type-gogs'],
      ].map((one) => [one, test]),
    ),
  }
  const unsound = ['type-slack']
  const refusals: Record<string, string> = { 'no-secret': 'missing', 'wrong-secret': 'wrong' }
  for (const delivery of gitea.deliveries) {
    const { name, headers, body } = delivery
    const told = tea.authenticate({ headers, body: Buffer.from(body), now: Date.now() })
    const refused = refusals[name]
    t.match(told, refused ? { refused } : { id: /^[0-9a-f]{64}$/, timeless: true }, `who: ${name}`)
    if (unsound.includes(name)) t.throws(() => read(name), { code: 'INPUT_INVALID' }, name)
    else t.match(read(name), expected[name], name)
  }
  const names = gitea.deliveries.map(({ name }) => name).sort()
  t.strictSame([...Object.keys(expected), ...unsound].sort(), names, 'all of them')
})

/** A push of Gitea as it comes out when it was asked for what it does not tell. */
async function completed(name: string, follows?: Follows) {
  const source = createGiteaSource({ secrets: [gitea.secret], follows })
  const payload = payloadOf(giteaDelivery(name))
  const facts = source.read(giteaDelivery(name).headers, payload)
  if ('ignored' in facts || !source.complete) throw new Error(`${name} is no push`)
  return source.complete(facts, payload)
}

t.test('a push that may have replaced commits counts as a change of every file', async (t) => {
  const asked: unknown[] = []
  const follows: Follows = async (...all) => {
    asked.push(all)
    return true
  }
  t.match(await completed('push-one-commit', follows), { paths: Array })
  t.match(asked, [['team/webapi', [/^ac31ad3f/], /^2e0386f3/]])
  const forced = await completed('push-forced-replaces-docs-commit', async () => false)
  t.equal(forced.paths, undefined)
  t.equal((await completed('push-one-commit')).paths, undefined, 'without a token nobody knows')
  const many = await completed('push-8-commits-5-told', follows)
  t.equal(many.paths, undefined, 'not all of its commits are listed')
})

t.test('a branch of a mirror that got commits is read from its bare name', async (t) => {
  const { headers } = giteaDelivery('push-one-commit')
  const push = payloadOf(giteaDelivery('push-one-commit')) as { repository: object }
  const mirrored = (mirror: boolean, ref: string): Reading => {
    const repository = { ...push.repository, mirror }
    return tea.read(headers, { ...push, ref, repository, head_commit: null })
  }
  t.match(mirrored(true, 'main'), { kind: 'push', ref: 'main', title: 'Images of their own' })
  t.match(mirrored(true, 'refs/pull/3/head'), { ignored: /no branch and no tag/ })
  t.match(mirrored(false, 'main'), { ignored: /no branch and no tag/ })
})

t.test('Gitea is asked for parents, and for the token when it answers 404', async (t) => {
  const paths: string[] = []
  const answers: Record<string, [number, object]> = {
    '/api/v1/repos/team/webapi/git/commits/b': [200, { parents: [{ sha: 'a'.repeat(40) }] }],
    '/api/v1/user': [401, { message: 'token is required' }],
  }
  const server = createServer((request, response) => {
    paths.push(request.url ?? '')
    const [status, body] = answers[request.url ?? ''] ?? [404, { message: 'not found' }]
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const access = giteaAccess({ url: `http://127.0.0.1:${port}/`, token: 't' }, createHttpClient())
  const follows = createFollows(access, silentLog)
  t.equal(await follows('team/webapi', ['b'], 'a'.repeat(40)), true)
  t.equal(await follows('team/webapi', ['b'], 'c'.repeat(40)), false)
  t.equal(
    await follows('team/webapi', ['gone'], 'a'.repeat(40)),
    false,
    'without a response it does not follow',
  )
  const what = 'setting a status'
  const path = ['repos', 'team', 'webapi', 'statuses', 'b']
  const ask = () => callGithub(access, { what, path, signal: AbortSignal.timeout(10_000) })
  await t.rejects(ask(), {
    code: 'UNAUTHORIZED',
    message: `${what}: Gitea does not know the token`,
  })
  answers['/api/v1/user'] = [200, { login: 'crosscloud' }]
  await t.rejects(ask(), { code: 'NOT_FOUND' })
  answers['/api/v1/user'] = [403, { message: 'token does not have the scope' }]
  await t.rejects(ask(), { code: 'NOT_FOUND' })
})
