import t from 'tap'
import { proxyFor } from '../../../src/core/http/proxy.ts'

const http = 'http://proxy:3128'
const https = 'http://proxy:3129'

t.test('which URLs a proxy leads to', async (t) => {
  const table: [except: string, url: string, expected: string | undefined][] = [
    ['', 'https://harbor.example/v2/', https],
    ['', 'http://harbor.example/v2/', http],
    ['', 'http://localhost:5000/', undefined],
    ['', 'http://127.8.0.1/', undefined],
    ['', 'http://[::1]:5000/', undefined],
    ['*', 'https://harbor.example/', undefined],
    ['harbor.example', 'https://harbor.example/', undefined],
    ['HARBOR.example', 'https://harbor.EXAMPLE/', undefined],
    ['example', 'https://harbor.example/', undefined],
    ['.example', 'https://harbor.example/', undefined],
    ['*.example', 'https://harbor.example/', undefined],
    ['bor.example', 'https://harbor.example/', https],
    ['a, harbor.example b', 'https://harbor.example/', undefined],
    ['harbor.example:443', 'https://harbor.example/', undefined],
    ['harbor.example:8443', 'https://harbor.example/', https],
    ['harbor.example:8443', 'https://harbor.example:8443/', undefined],
    ['10.1.2.3', 'https://10.1.2.3/', undefined],
    ['2.3', 'https://10.1.2.3/', https],
    ['10.0.0.0/8', 'https://10.1.2.3:8443/', undefined],
    ['10.0.0.0/8', 'https://11.1.2.3/', https],
    ['10.0.0.0/8', 'https://ten.example/', https],
    ['10.0.0.0/99', 'https://10.1.2.3/', https],
    ['fd00::/8', 'https://[fd12::1]/', undefined],
    ['fd12::1', 'https://[fd12::1]/', undefined],
    ['[fd12::1]:8443', 'https://[fd12::1]:8443/', undefined],
  ]
  for (const [except, url, expected] of table) {
    t.equal(proxyFor(new URL(url), { http, https, except }), expected, `${except} ${url}`)
  }
  t.equal(proxyFor(new URL('https://a/'), undefined), undefined)
  t.equal(proxyFor(new URL('https://a/'), { http }), undefined)
})
