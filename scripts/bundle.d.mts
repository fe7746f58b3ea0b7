export function bundleProgram(root: string, outfile: string): Promise<void>
export function bundleActions(root: string, stepNames: readonly string[]): Promise<void>
