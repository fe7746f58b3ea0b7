import { StepError } from '../core/errors.ts'
import { retry } from '../core/retry.ts'
import { getJson, type IssuerAccess } from './http.ts'
import { isSafe } from './url.ts'

const WHAT = 'asking GitHub for an ID token'
const HINT = 'Write "permissions: { id-token: write }" in the job; pull requests of forks get none.'

/**
 * The ID token of a GitHub job, for an audience. It is a secret: the caller masks it. UNAUTHORIZED
 * when the job may not have one.
 */
export async function requestGithubToken(
  variables: Readonly<Record<string, string | undefined>>,
  audience: string,
  signal: AbortSignal,
  access: Omit<IssuerAccess, 'signal'>,
): Promise<string> {
  const {
    ACTIONS_ID_TOKEN_REQUEST_URL: address = '',
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer = '',
  } = variables
  if (address === '' || bearer === '') {
    throw new StepError('UNAUTHORIZED', `${WHAT}: the job may not have one`, { hint: HINT })
  }
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (!url || !isSafe(url)) {
    throw new StepError('UNAUTHORIZED', `${WHAT}: its address is not an https URL`, {
      hint: 'ACTIONS_ID_TOKEN_REQUEST_URL is set by GitHub. Do not change it in the workflow.',
    })
  }
  url.searchParams.set('audience', audience)
  const headers = { authorization: `Bearer ${bearer}` }
  const { value } = await retry(() => getJson(WHAT, url, { ...access, signal }, headers), {
    attempts: 3,
    ...access.retry,
    signal,
  })
  if (typeof value === 'string' && value !== '') return value
  throw new StepError('UNAUTHORIZED', `${WHAT}: the answer holds none`, { hint: HINT })
}
