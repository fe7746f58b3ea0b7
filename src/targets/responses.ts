import { type StepError, toStepError } from '../core/errors.ts'
import { joinErrors } from '../core/settle-all.ts'

interface Success<T> {
  host: string
  value: T
}

interface Failure {
  host: string
  error: StepError
}

/** What a host of a target responded, or why it did not. */
export type HostResponse<T> = Success<T> | Failure

export const isSuccess = <T>(response: HostResponse<T>): response is Success<T> =>
  'value' in response

export const isFailure = (response: HostResponse<unknown>): response is Failure =>
  'error' in response

async function request<T>(host: string, work: () => Promise<T>): Promise<HostResponse<T>> {
  try {
    return { host, value: await work() }
  } catch (error) {
    return { host, error: toStepError(error) }
  }
}

/** Runs `work` for all hosts at once. A host that fails hides none of the others. */
export function requestAll<T>(
  hosts: readonly string[],
  work: (host: string) => Promise<T>,
): Promise<HostResponse<T>[]> {
  return Promise.all(hosts.map((host) => request(host, () => work(host))))
}

/** Goes on with the value of each host that responded, all at once. */
export function continueWith<T, Result>(
  responses: readonly HostResponse<T>[],
  work: (value: T, host: string) => Promise<Result>,
): Promise<HostResponse<Result>[]> {
  return Promise.all(
    responses.map(async (response) =>
      isFailure(response)
        ? response
        : request(response.host, () => work(response.value, response.host)),
    ),
  )
}

/** The failures of all hosts in one error. */
export function failureOf(responses: readonly HostResponse<unknown>[]): StepError | undefined {
  return joinErrors(responses.filter(isFailure).map(({ error }) => error))
}

/** A line for each text, with all hosts that it is told of. */
export function byText(told: readonly { host: string; text: string | undefined }[]): string[] {
  const hosts = new Map<string, string[]>()
  for (const { host, text } of told) {
    if (text !== undefined) hosts.set(text, [...(hosts.get(text) ?? []), host])
  }
  return [...hosts].map(
    ([text, names]) => `${names.length === 1 ? 'host' : 'hosts'} ${names.join(', ')}: ${text}`,
  )
}
