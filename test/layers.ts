/**
 * The layers of src/, by module: an import goes down or stays in its module, never up.
 * docs/architecture.md draws them.
 */
export const layers: Readonly<Record<string, number>> = {
  core: 1,
  image: 2,
  registry: 2,
  'registry-server': 2,
  redis: 2,
  api: 2,
  config: 2,
  targets: 2,
  builder: 2,
  proxies: 2,
  ledger: 2,
  gitlab: 2,
  identity: 2,
  gate: 2,
  policy: 2,
  'settings.ts': 3,
  delivery: 4,
  steps: 5,
  'context.ts': 6,
  surface: 6,
  client: 6,
  agent: 7,
  cli: 7,
  actions: 7,
  server: 7,
  demo: 7,
  'index.ts': 7,
}

/** Modules of one layer that may meet, and why. */
export const allowed: ReadonlyMap<string, string> = new Map([
  ['image → registry', 'an image is written with references and descriptors'],
  ['registry-server → registry', 'both sides of one protocol share its names'],
  ['builder → targets', 'an engine that builds is connected to as one that runs containers'],
  ['config → redis', 'one of the stores is Redis'],
  [
    'proxies → targets',
    'a rollout says what it asks of a proxy; one in a container is reached by its engine',
  ],
  ['context.ts → client', 'where a step runs is chosen where drivers are'],
  ['demo → cli', 'the demo runs the command line'],
  ['cli → demo', '`crosscloud demo` is a command'],
  ['cli → server', '`crosscloud serve` is a command'],
  ['cli → agent', '`crosscloud agent` is a command'],
  ['agent → server', 'an agent carries out runs by the very code of the server'],
])

/** Layers inside a module, by folder: the same rule holds between them. */
export const innerLayers: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  config: { store: 1, template: 2, rules: 3 },
}
