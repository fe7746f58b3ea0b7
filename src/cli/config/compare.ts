import { compareSnapshots, type Difference } from '../../config/rules/differences.ts'
import { type Finding, lint } from '../../config/rules/lint.ts'
import { StepError } from '../../core/errors.ts'
import { openConfig } from '../../delivery/config/config-change.ts'
import { lintEnvironment } from '../../delivery/config/config-lint.ts'
import type { EnvironmentConfig } from '../../delivery/config/environment-config.ts'
import { table } from '../output.ts'
import { addCommand, type ConfigGroup } from './group.ts'

/** `config diff|lint`: what is different, and what looks wrong. */
export function addCompareCommands(group: ConfigGroup): void {
  const diff = addCommand(
    group,
    'diff <left> <right>',
    'Keys that differ between two environments; secrets as marks.',
    'config diff staging production',
  )
  diff.action(async (leftName: string, rightName: string) => {
    await group.perform(diff, async (context) => {
      const { config: left } = await openConfig(leftName, ['/'], context)
      const { config: right } = await openConfig(rightName, ['/'], context)
      const differences = compareSnapshots(left, right)
      const shown = differences.map((difference) => showDifference(difference, left, right))
      return {
        json: { left: leftName, right: rightName, differences: shown },
        text:
          shown.length === 0
            ? `${leftName} and ${rightName} are the same.`
            : table(
                ['key', leftName, rightName],
                shown.map(({ key, left, right }) => [key, left ?? 'absent', right ?? 'absent']),
              ),
      }
    })
  })

  const linter = addCommand(
    group,
    'lint [environments...]',
    'Look for invisible characters, missing and unused keys, and values of other environments.',
    'config lint',
  ).option('--strict', 'warnings count as errors')
  linter.action(async (names: string[], { strict = false }: { strict?: boolean }) => {
    await group.perform(linter, async (context) => {
      const known = Object.keys((await context.settings()).environments)
      const environments = []
      for (const name of names.length > 0 ? names : known) {
        environments.push(await lintEnvironment(await context.environment(name), context))
      }
      const findings = lint(environments)
      const counts = countOf(findings, environments.length)
      const bad = findings.filter(({ level }) => strict || level === 'error')
      const failure = new StepError(
        'VERIFY_FAILED',
        `the config has ${bad.length} ${bad.length === 1 ? 'error' : 'errors'}`,
        {
          hint: 'docs/config.md explains each finding.',
        },
      )
      const text = [...findings.map(findingLine), counts].join('\n')
      return { json: { findings }, text, ...(bad.length > 0 && { failure }) }
    })
  })
}

function showDifference(
  { key, kind }: Difference,
  left: EnvironmentConfig,
  right: EnvironmentConfig,
): { key: string; kind: Difference['kind']; left: string | null; right: string | null } {
  const [a, b] = [left.stored.get(key), right.stored.get(key)]
  const secret = (a !== undefined && left.isSecret(key)) || (b !== undefined && right.isSecret(key))
  return {
    key,
    kind,
    left: a === undefined ? null : left.show(key, a, secret),
    right: b === undefined ? null : right.show(key, b, secret),
  }
}

function findingLine({ level, environment, key, rule, text }: Finding): string {
  return `${level}: ${environment}${key === undefined ? '' : ` ${key}`} ${text} [${rule}]`
}

function countOf(findings: readonly Finding[], environments: number): string {
  const errors = findings.filter(({ level }) => level === 'error').length
  const warnings = findings.length - errors
  const many = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`
  return `${many(errors, 'error')}, ${many(warnings, 'warning')} in ${many(environments, 'environment')}.`
}
