import type { Kysely } from 'kysely'
import { StepError } from '../../core/errors.ts'
import type { TlsTexts } from '../../core/files/tls-files.ts'
import { ledgerError } from './access.ts'
import { type MysqlAddress, parseMysqlAddress } from './mysql-address.ts'
import { translateMysql } from './mysql-errors.ts'
import type { Schema } from './schema.ts'

interface Main {
  db: Kysely<Schema>
  address: MysqlAddress
  tls: TlsTexts | undefined
  connect(address: MysqlAddress): Promise<Kysely<Schema>>
}

/** A ledger by the account that alone writes approvals, connected when it is first asked for. */
export function openApprovals(url: () => string, main: Main) {
  let opened: Promise<Kysely<Schema>> | undefined
  return {
    open(): Promise<Kysely<Schema>> {
      opened ??= connectApproved(url(), main).catch((error: unknown) => {
        opened = undefined
        throw error
      })
      return opened
    },
    async close(): Promise<void> {
      await (await opened?.catch(() => undefined))?.destroy()
    },
  }
}

async function connectApproved(url: string, { db, address, tls, connect }: Main) {
  const apart = parseMysqlAddress(url, tls)
  if (apart.user === address.user) {
    throw new StepError(
      'INPUT_INVALID',
      `ledger: approvals has the account of url, ${apart.user}`,
      {
        hint: 'Give approvals an account of its own (docs/ledger-database.md), or take it out.',
      },
    )
  }
  const found = await connect(apart)
  try {
    if ((await idOf(found)) === (await idOf(db))) return found
    throw new StepError(
      'INPUT_INVALID',
      `ledger: approvals is ${apart.name}, another ledger than ${address.name}`,
      { hint: 'Name the same database in approvals as in url, with another account.' },
    )
  } catch (error) {
    await found.destroy()
    const translate = (error: unknown) => translateMysql(`${apart.name} (approvals)`, error)
    throw ledgerError({ translate }, 'opening the ledger for approvals', error)
  }
}

async function idOf(db: Kysely<Schema>): Promise<string | undefined> {
  const facts = db.selectFrom('facts').select('value').where('name', '=', 'id')
  return (await facts.executeTakeFirst())?.value
}
