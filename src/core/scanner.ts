/** The identity of what a scan's result wrote. No token's issuer is called so. */
export const SCAN = 'webhook of Harbor'

/** By this name among a gate's approvers the scanner is meant, and no account that is called so. */
export const SCANNER = 'harbor-scan'

export const isOfScan = ({ identity }: { identity?: string | undefined }): boolean =>
  identity === SCAN
