export const ACTION_FILES: string
export function bundleProgram(
  root: string,
  outdir: string,
  commands: readonly object[],
): Promise<void>
export function bundleActions(root: string, stepNames: readonly string[]): Promise<void>
