import t from 'tap'
import { createHttpClient } from '../../src/core/http/client.ts'
import { identitySettings } from '../../src/identity/settings.ts'
import { identify } from '../../src/identity/who.ts'
import { gitlabClaims, startIssuer, variantsOf } from './issuer.ts'

const settingsOf = (issuer: string) =>
  identitySettings.parse({ issuer, audience: 'crosscloud', project: 'team/webapi' })
const hintOf = async (variables: Record<string, string>) => {
  const { signal } = new AbortController()
  const who = { by: 'li', environment: 'production', required: true, strict: true }
  const answer = identify(settingsOf('https://gitlab.example.com'), {
    ...who,
    variables,
    http: createHttpClient(),
    signal,
    keys: async () => ({ keys: [] }),
    hide: () => {},
  })
  return answer.then(
    () => '',
    (error) => `${error.hint}`,
  )
}

t.test('without a token the hint fits this CI system', async (t) => {
  const gitlab = await hintOf({ GITLAB_CI: 'true' })
  t.match(gitlab, 'id_tokens: { CROSSCLOUD_ID_TOKEN: { aud: "crosscloud" } }')
  t.notMatch(gitlab, /GitHub|id-token/)
  const github = await hintOf({ GITHUB_ACTIONS: 'true' })
  t.match(github, 'permissions: { id-token: write }')
  t.notMatch(github, /GitLab|id_tokens/)
  t.match(await hintOf({}), /In GitLab.*id_tokens.*in GitHub.*id-token/)
})

t.test('a token has one hash, however its signature is written', async (t) => {
  const issuer = await startIssuer()
  const { signal } = new AbortController()
  const token = await issuer.sign(gitlabClaims(issuer.url))
  const hashes = [token, ...variantsOf(token)].map(async (one) => {
    const who = await identify(settingsOf(issuer.url), {
      variables: { CROSSCLOUD_ID_TOKEN: one },
      by: 'li',
      environment: 'production',
      required: true,
      strict: true,
      signal,
      http: createHttpClient(),
      keys: async () => ({ keys: issuer.keys }),
      hide: () => {},
    })
    return who.tokenHash
  })
  t.equal(new Set(await Promise.all(hashes)).size, 1)
})
