import t from 'tap'
import { parseStoreAddress } from '../../../src/config/store/address.ts'
import { parseRepository } from '../../../src/registry/reference.ts'
import {
  isSameEngine,
  isSameRepository,
  isSameStore,
} from '../../../src/server/applications/places.ts'
import { parseAddress } from '../../../src/targets/docker/address.ts'

const pairs = (
  same: boolean,
  compare: (one: string, other: string) => boolean,
  all: string[][],
) => {
  for (const [one = '', other = ''] of all) {
    t.equal(compare(one, other), same, `${one} ${other}`)
    t.equal(compare(other, one), same, `${other} ${one}`)
  }
}

const engines = (one: string, other: string) => isSameEngine(parseAddress(one), parseAddress(other))
pairs(true, engines, [
  ['tcp://app-01:2376', 'tcp://APP-01:2376'],
  ['tcp://app-01:2376', 'tcp://app-01'],
  ['tcp://app-01:2375', 'tcp://app-01:2376'],
  ['tcp://app-01:2376', 'tcp://app-01.:2376'],
  ['tcp://app-01:4000', 'ssh://root@app-01:2222'],
  ['tcp://10.0.0.1:2376', 'tcp://167772161:2376'],
  ['tcp://10.0.0.1:2376', 'tcp://0xa.1:2376'],
  ['tcp://[fd00:0:0::1]:2376', 'tcp://[FD00::1]:2376'],
  ['tcp://localhost:2376', 'tcp://127.0.0.2:2376'],
  ['tcp://[::1]:2376', 'ssh://127.0.0.1'],
  ['unix:///var/run/docker.sock', 'unix:///var/run/docker.sock'],
])
pairs(false, engines, [
  ['tcp://app-01:2376', 'tcp://app-02:2376'],
  ['tcp://app-01:2376', 'tcp://app-01:4000'],
  ['tcp://app-01:2376', 'unix:///var/run/docker.sock'],
])

const repositories = (one: string, other: string) =>
  isSameRepository(parseRepository(one), parseRepository(other))
pairs(true, repositories, [
  ['r.example.com/webapi', 'R.example.com:443/webapi'],
  ['docker.io/library/x', 'x'],
  ['index.docker.io/library/x', 'registry-1.docker.io/library/x'],
])
pairs(false, repositories, [['r.example.com/webapi', 'r.example.com:5000/webapi']])

const stores = (one: string, other: string) =>
  isSameStore(parseStoreAddress(one), parseStoreAddress(other), '/srv')
pairs(true, stores, [
  ['redis://:a@10.0.0.9:6379/1', 'rediss://li:b@10.0.0.9/1'],
  ['redis+sentinel://a:1,b:2/main/0', 'redis+sentinel://B:2/main/0'],
  ['etcd://li:x@a:2379,b:2379/prod', 'etcds://b:2379/prod'],
  ['etcd://a:2379', 'etcd://a:2379/prod'],
  ['file:config/x.yaml', 'file:config/y/../x.yaml'],
])
pairs(false, stores, [
  ['redis://10.0.0.9:6379/1', 'redis://10.0.0.9:6379/2'],
  ['etcd://a:2379/prod', 'etcd://a:2379/production'],
  ['file:config/x.yaml', 'redis://10.0.0.9:6379/1'],
])
