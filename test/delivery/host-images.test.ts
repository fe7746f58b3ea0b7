import t from 'tap'
import { judgeImage } from '../../src/delivery/host-images.ts'
import type { ImageNeeds } from '../../src/delivery/retention.ts'
import type { Release } from '../../src/ledger/ledger.ts'
import type { EnvironmentSettings } from '../../src/settings.ts'
import type { HostImage } from '../../src/targets/target.ts'

const digest = (number: number) => `sha256:${String(number).padStart(64, '0')}` as const
const needs: ImageNeeds = {
  releases: [{ version: '1.0.3', digest: digest(3) } as Release],
  deployed: new Set([digest(2)]),
  newest: new Set([digest(3)]),
}
const environment = {
  image: { registry: 'harbor.example.com', name: 'team/webapi' },
} as EnvironmentSettings

function judge(references: string[], more: Partial<HostImage> = {}) {
  const image = { id: 'x', references, labels: {}, size: 1, createdAt: '', usedBy: [], ...more }
  return judgeImage('app-01', image, { app: 'webapi', environment, needs })
}

const ours = (number: number) => `harbor.example.com/team/webapi@${digest(number)}`

t.test('an image stays for what runs, for a rollback, and as one of the newest', async (t) => {
  const use = (...given: Parameters<typeof judge>) => judge(...given).use
  const title = (name: string) => ({ labels: { 'org.opencontainers.image.title': name } })
  t.equal(use([ours(1)]), 'none')
  t.equal(use([ours(2)]), 'rollback')
  t.equal(use([ours(3)]), 'newest')
  t.equal(use([ours(1)], { usedBy: [{ name: 'webapi-test', running: true }] }), 'runs')
  t.equal(use([ours(1)], { usedBy: [{ name: 'old', running: false }] }), 'stopped')
  t.equal(use([ours(1)], title('webapi')), 'none')
  t.equal(use([ours(1)], title('other')), 'foreign', 'two applications in one repository')
  t.equal(use([]), 'foreign', 'an image without a name')
  t.equal(use([`docker.io/library/tomcat@${digest(1)}`]), 'foreign')
  t.equal(use(['[::1]:5000/what ever']), 'foreign', 'what is no reference of ours')
})

t.test('only the names of this repository are taken from an image', async (t) => {
  const other = `harbor.example.com/prod/webapi@${digest(1)}`
  t.strictSame(judge([ours(1), other]).own, [ours(1)])
  t.strictSame(judge([other]).own, [])
  t.equal(judge([ours(3)]).version, '1.0.3')
})
