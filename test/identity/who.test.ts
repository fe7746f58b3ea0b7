import t from 'tap'
import { identitySettings } from '../../src/identity/settings.ts'
import { identify } from '../../src/identity/who.ts'

const settings = identitySettings.parse({
  issuer: 'https://gitlab.example.com',
  audience: 'crosscloud',
  project: 'team/webapi',
})
const hintOf = async (variables: Record<string, string>) => {
  const { signal } = new AbortController()
  const who = { by: 'li', environment: 'production', required: true, strict: true }
  const answer = identify(settings, {
    ...who,
    variables,
    signal,
    keys: async () => ({ keys: [] }),
    hide: () => {},
  })
  return answer.then(
    () => '',
    (error) => `${error.hint}`,
  )
}

t.test('where no token says who it is, the way of this CI system is told', async (t) => {
  const gitlab = await hintOf({ GITLAB_CI: 'true' })
  t.match(gitlab, 'id_tokens: { CROSSCLOUD_ID_TOKEN: { aud: "crosscloud" } }')
  t.notMatch(gitlab, /GitHub|id-token/)
  const github = await hintOf({ GITHUB_ACTIONS: 'true' })
  t.match(github, 'permissions: { id-token: write }')
  t.notMatch(github, /GitLab|id_tokens/)
  t.match(await hintOf({}), /In GitLab.*id_tokens.*in GitHub.*id-token/)
})
