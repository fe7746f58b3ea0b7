import { writeFile } from 'node:fs/promises'
import type { StepError } from '../core/errors.ts'

/** What a command found, for the test report of a merge request. */
export interface Findings {
  /** `render-config staging` */
  title: string
  /** What the command tells. */
  facts: readonly string[]
  failure: StepError | undefined
}

/**
 * Writes a JUnit report: a test case for each thing that is wrong, or one that passed. The format is
 * what GitLab reads: https://docs.gitlab.com/ci/testing/unit_test_reports/
 */
export async function writeJunit(
  path: string,
  findings: Findings,
  mask: (text: string) => string,
): Promise<void> {
  await writeFile(path, mask(junitXml(findings)))
}

function junitXml({ title, facts, failure }: Findings): string {
  const wrong = failure?.message.split('\n').filter((line) => line.trim()) ?? []
  const cases = failure
    ? wrong.map((line) => {
        const text = [line.trim(), ...facts, failure.hint].filter(Boolean).join('\n')
        return testcase(
          title,
          line.trim(),
          `<failure message="${escapeXml(line)}">${escapeXml(text)}</failure>`,
        )
      })
    : [
        testcase(
          title,
          facts[0] ?? 'passed',
          `<system-out>${escapeXml(facts.join('\n'))}</system-out>`,
        ),
      ]
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite name="${escapeXml(title)}" tests="${cases.length}" failures="${wrong.length}">`,
    ...cases,
    '</testsuite>',
    '',
  ].join('\n')
}

function testcase(title: string, name: string, body: string): string {
  return `  <testcase classname="${escapeXml(title)}" name="${escapeXml(name)}">${body}</testcase>`
}

/** XML 1.0 knows no control characters but three, not even escaped. */
function escapeXml(text: string): string {
  return text
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
