import type { StepError } from '../core/errors.ts'
import type { Secrets } from '../core/secrets.ts'
import { inSurfaceWords } from './output.ts'

/** What a command found, for the test report of a merge request. */
export interface Findings {
  /** `verify-md5 staging` */
  title: string
  /** What the command looks at, in a sentence. */
  test: string
  /** What the command prints. */
  text: string
  failure: StepError | undefined
}

/**
 * A JUnit report: a test case for each thing that is wrong, or one that passed. GitLab compares runs
 * by suite, class and name, so none of these has anything in it that is another one each time:
 * https://docs.gitlab.com/ci/testing/unit_test_reports/
 * Texts are masked before XML escapes them: afterwards a secret may look different.
 */
export function junitXml(findings: Findings, { mask, maskValue }: Omit<Secrets, 'add'>): string {
  const { test } = findings
  const [title, facts] = [maskValue(findings.title), mask(findings.text)]
  const failure = findings.failure && inSurfaceWords(findings.failure, mask)
  const wrong = failure?.message.split('\n').filter((line) => line.trim()) ?? []
  const names = distinct(wrong.map((line) => stable(line.trim())))
  const cases = failure
    ? wrong.map((line, index) => {
        const text = [line.trim(), facts, failure.hint].filter(Boolean).join('\n')
        return testcase(
          title,
          names[index] ?? test,
          `<failure message="${escapeXml(line)}">${escapeXml(text)}</failure>`,
        )
      })
    : [testcase(title, test, `<system-out>${escapeXml(facts)}</system-out>`)]
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite name="${escapeXml(title)}" tests="${cases.length}" failures="${wrong.length}">`,
    ...cases,
    '</testsuite>',
    '',
  ].join('\n')
}

/** Without digests, checksums and the versions of releases: those stand in the failure's text. */
function stable(line: string): string {
  return line
    .replace(/\b(?:sha(?:256|512):)?[0-9a-f]{32,128}\b/g, '…')
    .replace(/\b([a-z0-9-]+)@\d[\w.+-]*/g, '$1')
}

function distinct(names: readonly string[]): string[] {
  const seen = new Map<string, number>()
  return names.map((name) => {
    const count = (seen.get(name) ?? 0) + 1
    seen.set(name, count)
    return count === 1 ? name : `${name} (${count})`
  })
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
