import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Attack } from './attack.ts'
import { LOGIN, newBrowser } from './world.ts'

/** Comes back from the issuer with something changed. */
const back =
  (change: (url: URL) => void): Attack['run'] =>
  async (world, browser) => {
    const url = await world.until(browser)
    change(url)
    return browser.send(url)
  }

/** Goes to the issuer with something changed. */
const forth =
  (change: (url: URL) => void): Attack['run'] =>
  async (world, browser) =>
    browser.send(await world.until(browser, change))

/** An ID token that the issuer did not make so. */
const withToken =
  (make: (token: string) => Promise<string> | string): Attack['run'] =>
  async (world, browser) => {
    const url = await world.until(browser)
    world.provider.tamper = async (body) => {
      body.id_token = await make(String(body.id_token))
    }
    try {
      return await browser.send(url)
    } finally {
      world.provider.tamper = undefined
    }
  }

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<
    string,
    unknown
  >

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** On the way to the issuer and back. */
export const logins: Record<string, Attack> = {
  'no state': { reason: 'login-state', run: back((url) => url.searchParams.delete('state')) },
  'another state': {
    reason: 'login-state',
    run: back((url) => url.searchParams.set('state', 'x')),
  },
  'two states': {
    reason: 'login-state',
    run: back((url) => url.searchParams.append('state', url.searchParams.get('state') ?? '')),
  },
  'a state that was used': {
    reason: 'login-state',
    async run(world, browser) {
      const url = await world.until(browser)
      await browser.send(url)
      return browser.send(url)
    },
  },
  'a code that was used, with a new state': {
    reason: 'login-code',
    async run(world, browser) {
      const used = await world.until(browser)
      await browser.send(used)
      const url = await world.until(browser)
      url.searchParams.set('code', used.searchParams.get('code') ?? '')
      return browser.send(url)
    },
  },
  "an attacker's code in the login of somebody else": {
    reason: 'login-code',
    async run(world, browser) {
      const stolen = await world.until(newBrowser())
      const url = await world.until(browser)
      url.searchParams.set('code', stolen.searchParams.get('code') ?? '')
      return browser.send(url)
    },
  },
  "an attacker's whole answer, so that somebody acts in the attacker's name": {
    reason: 'login-state',
    async run(world, browser) {
      await world.until(browser)
      return browser.send(await world.until(newBrowser()))
    },
  },
  'a browser that did not start it': {
    reason: 'login-state',
    run: async (world, browser) => newBrowser().send(await world.until(browser)),
  },
  'a login cookie that was changed': {
    reason: 'login-state',
    async run(world, browser) {
      const url = await world.until(browser)
      browser.setCookie(world.url, LOGIN, 'A'.repeat(43))
      return browser.send(url)
    },
  },
  'no code': { reason: 'login-token', run: back((url) => url.searchParams.delete('code')) },
  'two codes': { reason: 'login-token', run: back((url) => url.searchParams.append('code', 'x')) },
  'another nonce': {
    reason: 'login-nonce',
    run: forth((url) => url.searchParams.set('nonce', 'of-the-attacker')),
  },
  'no nonce': { reason: 'login-token', run: forth((url) => url.searchParams.delete('nonce')) },
  'another code challenge': {
    reason: 'login-code',
    run: forth((url) =>
      url.searchParams.set('code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'),
    ),
  },
  'the answer of another issuer (RFC 9207)': {
    reason: 'login-issuer',
    run: back((url) => url.searchParams.set('iss', 'https://evil.example.com')),
  },
  'an answer that does not say whose it is': {
    reason: 'login-issuer',
    run: back((url) => url.searchParams.delete('iss')),
  },
  'the answer of one issuer at the callback of another one': {
    reason: 'login-state',
    run: back((url) => {
      url.pathname = '/login/callback/other'
    }),
  },
  'a login that its person refused': {
    reason: 'login-denied',
    async run(world, browser) {
      world.provider.deny = true
      const url = await world.until(browser)
      world.provider.deny = false
      return browser.send(url)
    },
  },
  'an ID token with a changed signature': {
    reason: 'login-token',
    run: withToken((token) => `${token.slice(0, -6)}AAAAAA`),
  },
  'an ID token without a signature': {
    reason: 'login-token',
    run: withToken((token) => `${part({ alg: 'none' })}.${token.split('.')[1]}.`),
  },
  'an ID token that another key signed': {
    reason: 'login-token',
    run: withToken(async (token) => {
      const { privateKey } = await generateKeyPair('RS256')
      return new SignJWT(claimsOf(token)).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)
    }),
  },
  'an ID token that brings its key along': {
    reason: 'login-token',
    run: withToken(async (token) => {
      const { privateKey, publicKey } = await generateKeyPair('RS256')
      const jwk = await exportJWK(publicKey)
      return new SignJWT(claimsOf(token)).setProtectedHeader({ alg: 'RS256', jwk }).sign(privateKey)
    }),
  },
  'an ID token by the secret of the client': {
    reason: 'login-token',
    run: withToken((token) =>
      new SignJWT(claimsOf(token))
        .setProtectedHeader({ alg: 'HS256' })
        .sign(Buffer.from('a-client-secret-of-the-test-1')),
    ),
  },
  'an ID token for another application': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), aud: 'other' })}.${signature}`
    }),
  },
  'an ID token of another issuer': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), iss: 'https://evil.example.com' })}.${signature}`
    }),
  },
  'an ID token that is over': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), exp: 1 })}.${signature}`
    }),
  },
  'an ID token of somebody else': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), sub: '1' })}.${signature}`
    }),
  },
  'no ID token': {
    reason: 'login-token',
    async run(world, browser) {
      const url = await world.until(browser)
      world.provider.tamper = (body) => void delete body.id_token
      const answer = await browser.send(url)
      world.provider.tamper = undefined
      return answer
    },
  },
}
