import type { HttpClient } from '../../core/http/client.ts'
import { fetchBy, TIMEOUT } from './fetch.ts'
import { clientAuthentication, isPlain, type Protocol } from './issuer.ts'
import { refuseLogin } from './refusal.ts'
import type { LoginIssuerSettings } from './settings.ts'

/** OpenID Connect: GitLab, Keycloak, and whoever else has discovery. */
export function oidcProtocol(
  settings: LoginIssuerSettings,
  { http, owner, stop }: { http: HttpClient; owner: string; stop: AbortSignal },
): Protocol {
  const { issuer, 'client-id': id, 'client-secret': secret } = settings
  return {
    scopes: ['openid', 'profile', 'email'],
    hasIdToken: true,
    async configure(client) {
      const config = await client.discovery(
        new URL(issuer),
        id,
        undefined,
        clientAuthentication(client, secret),
        {
          [client.customFetch]: fetchBy(http, owner, stop),
          timeout: TIMEOUT / 1000,
          execute: [
            // The signature is checked, too, though the token comes from the issuer itself.
            client.enableNonRepudiationChecks,
            ...(isPlain(issuer) ? [client.allowInsecureRequests] : []),
          ],
        },
      )
      return config
    },
    async read({ client, config, access, id: subject, claims }) {
      if (subject === undefined) throw refuseLogin('login-token')
      const { userinfo_endpoint: place, claims_supported: supported } = config.serverMetadata()
      const asked =
        place === undefined ? undefined : await client.fetchUserInfo(config, access, subject)
      // Neither says who it is: only a new ID token would.
      if (asked === undefined && claims === undefined) throw refuseLogin('login-over')
      const all: Record<string, unknown> = { ...claims, ...asked }
      const wanted = settings['groups-claim'] ?? groupsClaim(supported)
      const login = textOf(all[settings['login-claim']]) ?? textOf(all.nickname)
      if (login === undefined) throw refuseLogin('login-name')
      const groups = listOf(all[wanted])
      return {
        account: { id: subject, login, groups: groups ?? [] },
        hasGroups: groups !== undefined,
      }
    },
  }
}

/** GitLab has both: direct ones are what the tokens of its jobs have, too. */
function groupsClaim(supported: unknown): string {
  const names: readonly unknown[] = Array.isArray(supported) ? supported : []
  return names.includes('groups_direct') ? 'groups_direct' : 'groups'
}

const textOf = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)

const MOST_GROUPS = 5000

function listOf(value: unknown): string[] | undefined {
  if (!Array.isArray(value)) return undefined
  return value.slice(0, MOST_GROUPS).filter((group) => typeof group === 'string')
}
