import { makeKey, sealedWith } from '../../config/rules/encryption.ts'
import { StepError } from '../../core/errors.ts'
import { openConfig, storable } from '../../delivery/config/config-change.ts'
import {
  addChangeOptions,
  addCommand,
  type ChangeOptions,
  type ConfigGroup,
  carryOut,
  environmentOf,
  readKey,
} from './group.ts'

/** `config make-key|seal`: values encrypted at rest. */
export function addSealCommands(group: ConfigGroup): void {
  const make = addCommand(
    group,
    'make-key [id]',
    'Make a key for encrypted values and print it. Keep it where the deployer reads it, and a copy.',
    'config make-key 2026-11 > production.key',
  )
  make.action(async (id: string | undefined) => {
    const name = id ?? new Date().toISOString().slice(0, 10)
    if (!/^[\w.-]{1,64}$/.test(name)) {
      throw new StepError('INPUT_INVALID', `"${name}" is not an id`, {
        hint: 'Use letters, digits, . _ and -.',
      })
    }
    await group.perform(make, async () => {
      const key = makeKey(name)
      return { json: { id: name, key }, text: key }
    })
  })

  const seal = addChangeOptions(
    addCommand(
      group,
      'seal [prefix]',
      'Encrypt the secrets that are in clear, and those of older keys anew with the first key.',
      'config seal --env production --reason "key of 2026"',
    ),
  )
  seal.action(async (prefix: string | undefined, options: ChangeOptions) => {
    const root = readKey(prefix ?? '/')
    await group.perform(seal, async (context) => {
      const opened = await openConfig(environmentOf(options), [root], context)
      const { stored, values, locked, isSecret, ring } = opened.config
      if (ring === undefined) {
        throw new StepError('INPUT_INVALID', 'there is no key to encrypt with', {
          hint: 'Make one with `crosscloud config make-key`, and give it in CROSSCLOUD_CONFIG_KEY.',
        })
      }
      for (const [key, why] of locked) context.log.warn(`${key} stays as it is: ${why}`)
      const planned = [...values].flatMap(([key, plain]) => {
        const before = stored.get(key) ?? ''
        if (!isSecret(key) || sealedWith(before) === ring.active.id) return []
        return [{ key, before, after: storable(key, plain, opened.config, true) }]
      })
      return carryOut(planned, options, context, group.terminal, opened)
    })
  })
}
