import t from 'tap'
import { createKey } from '../../../src/client/key.ts'
import { toStepError } from '../../../src/core/errors.ts'
import type { Attack } from './attack.ts'
import { logins } from './proof-attacks.ts'
import { uses } from './session-attacks.ts'
import { tokens } from './token-attacks.ts'
import { loginOf, sessionWorld } from './world.ts'

t.test(
  'what is forged, replayed, expired or confused is refused, each for its reason',
  async (t) => {
    const world = await sessionWorld(t)
    const { sessions, warnings } = world
    let count = 0
    const refused = async (
      name: string,
      { reason, told }: Attack,
      work: (ip: string) => Promise<unknown>,
    ) => {
      const ip = `10.1.${count >> 8}.${count++ & 255}`
      const error = await work(ip).then(
        () => undefined,
        (thrown: unknown) => toStepError(thrown),
      )
      t.equal(error?.code, 'UNAUTHORIZED', name)
      t.ok(
        warnings.includes(`${ip} was not let in: ${reason}`),
        `${name}: ${reason} in ${warnings.at(-1)}`,
      )
      const uniform = /^the (?:ID token is|credentials are) not accepted$/
      t.match(error?.message, told ?? uniform, name)
    }
    for (const [name, attack] of Object.entries(tokens)) {
      const token = await attack.token(world)
      await refused(name, attack, async (ip) =>
        sessions.start({ ...(await loginOf(await createKey(), ip)), token }),
      )
    }
    for (const [name, attack] of Object.entries(logins)) {
      const request = await attack.login(world)
      const token = await world.token()
      await refused(name, attack, (ip) => sessions.start({ ...request, ip, token }))
      await world
        .start(await createKey(), { token })
        .catch(() => t.fail(`${name} used up its token`))
    }
    for (const [name, attack] of Object.entries(uses)) {
      const request = await attack.request(world)
      await refused(name, attack, (ip) => sessions.authenticate({ ...request, ip }))
    }
    t.ok(count >= 100, `${count} attacks`)
    const { keys } = world.issuer
    t.ok(
      !warnings.some((text) => /ccs_|cct_|ey[A-Za-z0-9_-]{10}/.test(text)),
      'no secret is logged',
    )
    t.equal(keys.length, 2)
  },
)
