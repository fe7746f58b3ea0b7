export function bundleProgram(root: string, outfile: string): Promise<void>
