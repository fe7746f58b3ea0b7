import type { Command } from 'commander'
import { loadStep, stepNames } from '../steps/index.ts'
import type { Perform } from './command.ts'
import type { ProcessEnvironment } from './process-environment.ts'

/** Adds commands to the program; each file of commands exports a function like this. */
type AddCommands = (program: Command, perform: Perform, environment: ProcessEnvironment) => void

interface CommandFile {
  /** The first words of the command lines that it is for. */
  words: readonly string[]
  load(): Promise<AddCommands>
}

const steps = stepNames.map(
  (name): CommandFile => ({
    words: [name],
    async load() {
      const [step, { addStep }] = await Promise.all([loadStep(name), import('./step.ts')])
      return (...given) => step && addStep(step, ...given)
    },
  }),
)

/** Every command, in the order of the help. A command line loads only the file that it needs. */
const files: readonly CommandFile[] = [
  ...steps,
  {
    words: ['environments'],
    load: async () => (await import('./environment/environments.ts')).addEnvironments,
  },
  { words: ['status'], load: async () => (await import('./ledger/status.ts')).addStatus },
  { words: ['history'], load: async () => (await import('./ledger/history.ts')).addHistory },
  { words: ['releases'], load: async () => (await import('./ledger/releases.ts')).addReleases },
  { words: ['show'], load: async () => (await import('./ledger/show.ts')).addShow },
  { words: ['explain'], load: async () => (await import('./ledger/explain.ts')).addExplain },
  { words: ['diff'], load: async () => (await import('./ledger/diff.ts')).addDiff },
  { words: ['report'], load: async () => (await import('./ledger/report.ts')).addReport },
  { words: ['audit'], load: async () => (await import('./ledger/audit.ts')).addAudit },
  { words: ['tokens'], load: async () => (await import('./ledger/tokens.ts')).addTokens },
  { words: ['ledger'], load: async () => (await import('./ledger/admin.ts')).addAdmin },
  {
    words: ['lock', 'unlock', 'mark'],
    load: async () => (await import('./environment/lock.ts')).addLockCommands,
  },
  {
    words: ['sign-off'],
    load: async () => (await import('./environment/sign-off.ts')).addSignOff,
  },
  { words: ['config'], load: async () => (await import('./config/commands.ts')).addConfigCommands },
  {
    words: ['instances'],
    load: async () => (await import('./instances/group.ts')).addInstanceCommands,
  },
  { words: ['hosts'], load: async () => (await import('./hosts/group.ts')).addHostCommands },
  { words: ['gitlab'], load: async () => (await import('./gitlab.ts')).addGitlabCommands },
  {
    words: ['retention'],
    load: async () => (await import('./environment/retention.ts')).addRetention,
  },
  { words: ['serve'], load: async () => (await import('./server/serve.ts')).addServe },
  { words: ['agent'], load: async () => (await import('./server/agent.ts')).addAgent },
  { words: ['events'], load: async () => (await import('./server/events.ts')).addEventCommands },
  { words: ['sessions'], load: async () => (await import('./server/sessions.ts')).addSessions },
  { words: ['policy'], load: async () => (await import('./policy/group.ts')).addPolicyCommands },
  { words: ['demo'], load: async () => (await import('./demo.ts')).addDemo },
]

/** Adds the commands of one file, found by the first word of a command line, else all there are. */
export async function addCommands(
  word: string | undefined,
  ...given: Parameters<AddCommands>
): Promise<void> {
  const file = files.find(({ words }) => word !== undefined && words.includes(word))
  const loaded = await Promise.all((file ? [file] : files).map(({ load }) => load()))
  for (const add of loaded) add(...given)
}
