import t from 'tap'
import { findEngine } from '../../src/builder/address.ts'

const nobody = { address: undefined, certificates: undefined }
const find = (given: Partial<Parameters<typeof findEngine>[0]>, variables: object = {}) => {
  const place = { cwd: '/work', home: '/home/li', variables: { ...variables } }
  const { address, tls } = findEngine({ ...nobody, ...given }, place)
  return [address.text, tls?.ca]
}

t.test("without an address it is the engine of docker's own client", async (t) => {
  t.strictSame(find({}), ['unix:///var/run/docker.sock', undefined])
  t.strictSame(find({}, { DOCKER_HOST: '' }), ['unix:///var/run/docker.sock', undefined])
  const remote = { DOCKER_HOST: 'tcp://build:2376' }
  t.strictSame(find({}, remote), ['tcp://build:2376', undefined])
  const tls = { ...remote, DOCKER_TLS_VERIFY: '1' }
  t.strictSame(find({}, tls), ['tcp://build:2376', '/home/li/.docker/ca.pem'])
  const own = { ...tls, DOCKER_CERT_PATH: 'certs' }
  t.strictSame(find({}, own), ['tcp://build:2376', '/work/certs/ca.pem'])
  t.strictSame(find({}, { DOCKER_HOST: 'ssh://build', DOCKER_TLS_VERIFY: '1' }), [
    'ssh://build',
    undefined,
  ])
})

t.test('an address of the settings wins, with its own certificates', async (t) => {
  const variables = { DOCKER_HOST: 'tcp://other:2376', DOCKER_TLS_VERIFY: '1' }
  t.strictSame(find({ address: 'tcp://build' }, variables), ['tcp://build', undefined])
  const given = { address: 'tcp://build', certificates: 'certs/build' }
  t.strictSame(find(given, variables), ['tcp://build', '/work/certs/build/ca.pem'])
  t.throws(() => find({ address: 'build-01' }), { code: 'INPUT_INVALID' })
})
