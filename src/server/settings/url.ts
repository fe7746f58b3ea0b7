import { z } from 'zod'

/** Whether a URL has a login before its host, which fetch rejects. */
export const hasLogin = (url: string): boolean => /^\w+:\/\/[^/?#]*@/.test(url)

export const serverUrl = z
  .url({ protocol: /^https?$/ })
  .refine(
    (url) => !hasLogin(url),
    'has a login before the host; user and token have settings of their own',
  )
