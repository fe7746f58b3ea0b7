/**
 * The two parts of undici that a registry client needs. Loading them alone takes 30 ms, loading all
 * of undici (fetch, cache, WebSocket…) 100 ms: more than a whole retag on a near registry.
 */
declare module 'undici/lib/dispatcher/agent.js' {
  const Agent: typeof import('undici').Agent
  export default Agent
}

declare module 'undici/lib/dispatcher/env-http-proxy-agent.js' {
  const EnvHttpProxyAgent: typeof import('undici').EnvHttpProxyAgent
  export default EnvHttpProxyAgent
}

declare module 'undici/lib/api/api-request.js' {
  type Dispatcher = import('undici').Dispatcher
  function request(
    this: Dispatcher,
    options: import('undici').Dispatcher.RequestOptions,
  ): Promise<import('undici').Dispatcher.ResponseData>
  export default request
}
