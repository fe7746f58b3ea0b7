import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { openLedger } from '../../src/ledger/open.ts'
import { startRegistry } from '../../src/registry-server/server.ts'
import { releasedActions } from '../support/ci/release.ts'
import { writeWar } from '../support/data/war.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { commitProject, noAct, startRunner } from './act.ts'

t.setTimeout(590_000)

/** What a commit message, a branch or a person may hold. */
const REASON = [
  `costs $5; $(touch pwned) \`touch pwned\` "quotes" 'single' \\ & | > pwned`,
  '::set-output name=release::evil@6.6.6',
  '::error::not ours',
  'release<<EOF',
  'evil@6.6.6',
  '%0A::add-mask::webapi ${{ secrets.LEDGER_PASSWORD }} <b>价格</b>',
].join('\n')

/** One job bakes and pushes; another, elsewhere, takes its outputs. */
const WORKFLOW = `
on:
  workflow_dispatch:
    inputs:
      reason: {}
      to: {}
jobs:
  bake:
    runs-on: ubuntu-latest
    env:
      LEDGER_PASSWORD: \${{ secrets.LEDGER_PASSWORD }}
      DOCKER_AUTH_CONFIG: \${{ secrets.DOCKER_AUTH_CONFIG }}
    outputs:
      release: \${{ steps.push.outputs.release }}
      image: \${{ steps.push.outputs.image }}
    steps:
      - uses: actions/checkout@v5
      - uses: platform/crosscloud/actions/bake-image@v0
        with: { war: app.war, base: scratch, webapp: /app, version: 1.0.0 }
      - uses: platform/crosscloud/actions/push-image@v0
        id: push
        with:
          env: test
          reason: \${{ inputs.reason }}
  after:
    needs: bake
    runs-on: ubuntu-latest
    env:
      LEDGER_PASSWORD: \${{ secrets.LEDGER_PASSWORD }}
      DOCKER_AUTH_CONFIG: \${{ secrets.DOCKER_AUTH_CONFIG }}
    steps:
      - uses: platform/crosscloud/actions/retag-image@v0
        with:
          image: \${{ needs.bake.outputs.image }}
          to: \${{ inputs.to }}
      - env:
          RELEASE: \${{ needs.bake.outputs.release }}
        run: test "$RELEASE" = webapi@1.0.0
`

const skip = noAct() || missingProgram('mariadbd')
await t.test(
  'hostile text is text, and what one job puts out reaches the next',
  { skip },
  async (t) => {
    const password = 'a-secret-word-of-the-registry'
    const registry = await startRegistry({
      folder: join(await temporaryFolder(t), 'registry'),
      auth: { kind: 'basic', username: 'ci', password },
    })
    t.teardown(() => registry.close())
    const auth = Buffer.from(`ci:${password}`).toString('base64')
    const mariadb = await startMariadb(t)
    await mariadb.query('create database ledger')
    await mariadb.query("create user 'crosscloud'@'%' identified by 'a-secret-word'")
    await mariadb.query("grant all on ledger.* to 'crosscloud'@'%'")
    const address = (secret: string) =>
      `mysql://crosscloud:${secret}@127.0.0.1:${mariadb.port}/ledger`
    const project = await temporaryFolder(t)
    await writeWar(join(project, 'app.war'), { 'index.jsp': 'hello', 'WEB-INF/web.xml': '<x/>' })
    const test = { image: `${registry.address}/team/webapi` }
    const settings = {
      app: 'webapi',
      ledger: address('${LEDGER_PASSWORD}'),
      environments: { test },
    }
    await writeFile(join(project, 'crosscloud.yml'), stringify(settings))
    await commitProject(project)

    const runner = await startRunner(t, await releasedActions(t))
    const { ok, output } = await runner.run(project, {
      event: 'workflow_dispatch',
      text: WORKFLOW,
      inputs: { reason: REASON, to: `${registry.address}/team/webapi:other` },
      secrets: {
        LEDGER_PASSWORD: 'a-secret-word',
        DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { [registry.address]: { auth } } }),
      },
    })
    t.ok(ok, output)
    t.notMatch(output, password)
    t.notMatch(output, /a-secret-word(?!-)/)
    t.notMatch(output, /set-output:: release=evil/, 'it sets no output')
    t.notMatch(output, /^\S+ +❗ +::error::not ours/m)
    await t.rejects(access(join(project, 'pwned')))
    const ledger = await openLedger(address('a-secret-word'))
    t.teardown(() => ledger.close())
    const release = await ledger.findRelease('webapi', '1.0.0')
    t.equal(release?.reason, REASON, 'the ledger has it as it was written')
  },
)
