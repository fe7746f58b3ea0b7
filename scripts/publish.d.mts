export function changesOf(changelog: string, version: string): string
