declare module '@balena/dockerignore' {
  interface Rules {
    add(lines: readonly string[]): Rules
    ignores(path: string): boolean
  }
  /** Patterns of a .dockerignore; `ignorecase` is on by default, which docker is not. */
  export default function dockerignore(options: { ignorecase: boolean }): Rules
}
