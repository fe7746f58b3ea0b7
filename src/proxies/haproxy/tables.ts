import type { ResponseCounts, ServerMode } from '../../targets/proxy.ts'

/** One server, as `show servers state` has it. */
export interface ServerRow {
  name: string
  address: string
  port: number
  mode: ServerMode
  /** Whether it has a check, and what that says. */
  isChecked: boolean
  isUp: boolean
  /** Its weight now, and that of the configuration. */
  weight: number
  configuredWeight: number
}

/** Bits of srv_admin_state: management.html, section 9.3, "show servers state". */
const MAINTENANCE = 0x01 | 0x02 | 0x20
const DRAINING = 0x08 | 0x10
/** A bit of srv_check_state: a check is configured. */
const CHECK_CONFIGURED = 0x02
/** srv_op_state: 0 stopped, 1 starting, 2 running, 3 stopping. */
const STOPPED = 0

/** The servers of one backend; undefined when the text is no such table but an error. */
export function parseServers(text: string): ServerRow[] | undefined {
  const [version, heading, ...lines] = text.split('\n')
  if (version !== '1' || !heading?.startsWith('# be_id ')) return undefined
  const columns = heading.slice(2).trim().split(' ')
  return lines.filter(Boolean).map((line) => {
    const values = line.split(' ')
    const value = (name: string) => values[columns.indexOf(name)] ?? ''
    const admin = Number(value('srv_admin_state'))
    const mode = admin & MAINTENANCE ? 'out' : admin & DRAINING ? 'draining' : 'in'
    return {
      name: value('srv_name'),
      address: value('srv_addr'),
      port: Number(value('srv_port')),
      mode,
      isChecked: (Number(value('srv_check_state')) & CHECK_CONFIGURED) !== 0,
      isUp: Number(value('srv_op_state')) !== STOPPED,
      weight: Number(value('srv_uweight')),
      configuredWeight: Number(value('srv_iweight')),
    }
  })
}

/** A line of `show stat`, by column. */
export type StatRow = ReadonlyMap<string, string>

/** The line of one server; undefined when it is not there. */
export function parseStat(csv: string, backend: string, server: string): StatRow | undefined {
  const [heading = '', ...lines] = csv.replace(/^# /, '').split('\n')
  const columns = heading.split(',')
  const rows = lines.map((line) => {
    const values = line.split(',')
    return new Map(columns.map((column, index) => [column, values[index] ?? '']))
  })
  return rows.find((row) => row.get('pxname') === backend && row.get('svname') === server)
}

/** Its sessions now, and those that wait for it. Clients that are idle do not count. */
export function sessionsOf(row: StatRow): number {
  return Number(row.get('scur')) + Number(row.get('qcur'))
}

export function responsesOf(row: StatRow): ResponseCounts {
  const classes = ['1xx', '2xx', '3xx', '4xx', '5xx', 'other']
  const all = classes.reduce((sum, each) => sum + Number(row.get(`hrsp_${each}`)), 0)
  return { all, failed: Number(row.get('hrsp_5xx')) }
}
