import type { z } from 'zod'
import type { Context } from '../delivery/context.ts'
import type { Plan } from '../delivery/plan/schema.ts'
import type { EnvironmentSettings, Settings } from '../settings.ts'

/** What a job in CI has to know of the step that it runs. */
export interface StepCi {
  /** What it does to its environment; undefined: it belongs to none. */
  environment?: 'change' | 'verify' | 'prepare'
  /** It asks or records who runs it: its job needs a signed ID token. */
  identity?: true
  /** Files that a later job of the same pipeline needs. */
  artifacts?: readonly string[]
  /** The token is kept with what the step records, and proves it later. */
  proven?: true
  /** It runs in the job, and asks a server for what only the ledger knows. */
  asksServer?: true
  /** Each run makes a release of its own: a job must not run it again by itself. */
  runsOnce?: true
}

/**
 * One stage of a pipeline. Surfaces (command line, action, template, library) look its inputs up and
 * print its outputs; everything they need to know about it is here.
 */
export interface Step<
  Inputs extends z.ZodObject = z.ZodObject,
  Outputs extends z.ZodObject = z.ZodObject,
> {
  /** kebab-case; the command, the action's folder and the template's file are called this. */
  name: string
  /** One sentence: what it does for the caller. */
  summary: string
  /** A command line that works, without the program's name. */
  example: string
  inputs: Inputs
  outputs: Outputs
  /** The input that names its environment, where that is not `env`. */
  environmentInput?: string
  ci?: StepCi
  /** The inputs' values in crosscloud.yml, used where neither flag nor variable is given. */
  fromSettings?(
    settings: Settings,
    environment: EnvironmentSettings | undefined,
  ): Partial<z.input<Inputs>>
  /** The result for people: one line for each fact. */
  report(outputs: z.output<Outputs>): string[]
  run(inputs: z.output<Inputs>, context: Context): Promise<z.output<Outputs>>
  /**
   * What `run` would do with the same inputs, and all that stands in its way, with read rights alone.
   * A step that has it has the input `plan`, too.
   */
  plan?(inputs: z.output<Inputs>, context: Context): Promise<Plan>
}

export function defineStep<Inputs extends z.ZodObject, Outputs extends z.ZodObject>(
  step: Step<Inputs, Outputs>,
): Step<Inputs, Outputs> {
  return step
}
