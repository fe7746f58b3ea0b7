/** The part of oidc-provider that the tests use; it brings no types along. */
declare module 'oidc-provider' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

  interface Context {
    path: string
    status: number
    body: unknown
  }
  interface Grant {
    addOIDCScope(scope: string): void
    save(): Promise<string>
  }
  export default class Provider {
    constructor(issuer: string, settings: object)
    proxy: boolean
    Grant: new (of: {
      accountId: string
      clientId: string
    }) => Grant
    AccessToken: { find(token: string): Promise<{ accountId: string } | undefined> }
    use(middleware: (context: Context, next: () => Promise<void>) => Promise<void>): void
    callback(): RequestListener
    interactionDetails(
      request: IncomingMessage,
      response: ServerResponse,
    ): Promise<{
      prompt: { name: string }
      params: { client_id: string; scope?: string }
      session?: { accountId: string }
    }>
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: object,
      how: { mergeWithLastSubmission: boolean },
    ): Promise<void>
  }
}
