/** The identity under which scan results are recorded; no token issuer has this name. */
export const SCAN = 'webhook of Harbor'

/** Among a gate's approvers this name means the scanner, never an account. */
export const SCANNER = 'harbor-scan'

export const isOfScan = ({ identity }: { identity?: string | undefined }): boolean =>
  identity === SCAN
