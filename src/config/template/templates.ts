import { Script } from 'node:vm'
import type Handlebars from 'handlebars'
import * as handlebarsRuntime from 'handlebars/runtime.js'
import { StepError, toStepError } from '../../core/errors.ts'
import { type KeptUnit, openUnitCache, type UnitCache } from './language/code-cache.ts'
import type { CompiledUnit, UnitCode, UnitSource } from './language/compile.ts'
import { helpers } from './language/helpers.ts'
import { type Needs, type Requirement, requirementsOf } from './language/requirements.ts'
import { bindHelpers, type Session } from './language/runtime.ts'
import { blocks } from './language/syntax.ts'
import type { ConfigTemplate, TemplateFiles } from './resources.ts'
import { once } from './view.ts'

type Engine = typeof Handlebars

type Compiler = Pick<typeof import('./language/compile.ts'), 'compileUnit'>

/** A template resource and its compiled template, or INPUT_INVALID with a line for each error. */
export interface CompiledTemplate {
  readonly resource: ConfigTemplate
  readonly program: TemplateProgram | StepError
}

/** A template that has passed every check that is possible without values. */
export interface TemplateProgram {
  readonly requirements: readonly Requirement[]
  /** The needs of the template and its partials, by file. */
  readonly needs: ReadonlyMap<string, Needs>
  /** The text, or INPUT_INVALID with file and line. Absent keys are reported to the session. */
  render(session: Session): string
}

/** A file of templates/, ready to run. */
interface Unit extends Pick<CompiledUnit, 'needs' | 'calls'> {
  run: Handlebars.TemplateDelegate
}

/**
 * Compiles the templates of the resources, each file once. With a folder, compiled files are cached
 * there by content (see openUnitCache); the compiler is loaded only for files that are not cached.
 */
export async function compileTemplates(
  resources: readonly ConfigTemplate[],
  cacheFolder?: string,
): Promise<CompiledTemplate[]> {
  const engine = createEngine()
  const cache = cacheFolder === undefined ? undefined : openUnitCache(cacheFolder, dialect(engine))
  const compiler = once(() => import('./language/compile.ts'))
  const load = shareUnits((source) => loadUnit(engine, cache, compiler, source))
  const compiled: CompiledTemplate[] = []
  for (const resource of resources) {
    const program = await linkTemplate(engine, resource, load).catch(toStepError)
    compiled.push({ resource, program })
  }
  cache?.sweep()
  return compiled
}

/** Handlebars without its compiler: a string among the partials cannot become code. */
function createEngine(): Engine {
  // Its types do not cover the runtime, which is a CommonJS module.
  const { default: runtime } = handlebarsRuntime as unknown as { default: Engine }
  return runtime.create()
}

/** Everything that checks and code depend on, besides the template. */
function dialect({ VERSION }: Engine): string {
  const known = [...helpers].map(([name, { arity }]) => [name, arity[0], String(arity[1])])
  return JSON.stringify([VERSION, known, blocks])
}

/** Templates of a folder share their files; the files of two folders are never mixed. */
function shareUnits(load: (source: UnitSource) => Promise<Unit | StepError>) {
  const folders = new Map<TemplateFiles, Map<string, Promise<Unit | StepError>>>()
  return async (files: TemplateFiles, file: string, included: boolean) => {
    const units = folders.get(files) ?? new Map<string, Promise<Unit | StepError>>()
    folders.set(files, units)
    const id = `${included} ${file}`
    const bytes = files.get(file)
    if (bytes === undefined) {
      throw new StepError('INPUT_INVALID', `${file}: there is no such template`)
    }
    const partial = (name: string) =>
      [`templates/${name}`, `templates/${name}.hbs`].find((path) => files.has(path))
    const unit = units.get(id) ?? load({ file, bytes, included, partial })
    units.set(id, unit)
    return unit
  }
}

async function loadUnit(
  engine: Engine,
  cache: UnitCache | undefined,
  compiler: () => Promise<Compiler>,
  source: UnitSource,
): Promise<Unit | StepError> {
  const key = cache?.keyOf(source) ?? ''
  const found = cache?.find(key)
  const keep = (unit: CompiledUnit, { script, make }: Started) => {
    if (cache === undefined) return
    compileAll(make)
    cache.keep(key, { ...unit, machineCode: script.createCachedData() })
  }
  try {
    if (found && namesTheSame(found, source)) {
      const started = start(engine, source.file, found, found.machineCode)
      if (started.script.cachedDataRejected) keep(found, started)
      return started.unit
    }
  } catch {
    // The entry is not usable: compile again.
  }
  try {
    const unit = (await compiler()).compileUnit(source)
    const started = start(engine, source.file, unit)
    keep(unit, started)
    return started.unit
  } catch (error) {
    return toStepError(error)
  }
}

interface Started {
  unit: Unit
  script: Script
  make: UnitCode
}

function start(
  engine: Engine,
  file: string,
  { code, needs, calls }: CompiledUnit,
  machineCode?: Buffer,
): Started {
  const script = new Script(code, {
    filename: file,
    ...(machineCode && { cachedData: machineCode }),
  })
  const make = script.runInThisContext() as UnitCode
  return { script, make, unit: { needs, calls, run: engine.template(make(optionsIn(file))) } }
}

/** Whether the names of partials still mean the same files. */
function namesTheSame({ partials }: KeptUnit, { partial }: UnitSource): boolean {
  return Object.entries(partials).every(([name, file]) => partial(name) === file)
}

/** The options as Handlebars would write them into the code, see shareOptions. */
function optionsIn(source: string) {
  return (name: string, data: unknown, line: number, column: number) => ({
    name,
    hash: {},
    data,
    loc: { source, start: { line, column } },
  })
}

/** V8 caches the code of a function only after a call; without arguments these return at once. */
function compileAll(make: UnitCode): void {
  for (const part of Object.values(make(optionsIn('')))) {
    if (typeof part !== 'function') continue
    try {
      part()
    } catch {
      // as expected
    }
  }
}

async function linkTemplate(
  engine: Engine,
  { template, files }: ConfigTemplate,
  load: ReturnType<typeof shareUnits>,
): Promise<TemplateProgram> {
  const { units, problems } = await collect(template, (file, included) =>
    load(files, file, included),
  )
  const main = units.get(template)
  if (problems.length > 0 || main === undefined) {
    throw new StepError('INPUT_INVALID', problems.join('\n'), { hint: 'Correct the template.' })
  }
  const partials = Object.fromEntries([...units].map(([file, { run }]) => [file, run]))
  const calls = new Set([...units.values()].flatMap((unit) => unit.calls))
  const needs = new Map([...units].map(([file, unit]) => [file, unit.needs]))
  return {
    requirements: requirementsOf(template, (file) => needs.get(file)),
    needs,
    render: (session) =>
      main.run(Object.create(null), {
        helpers: bindHelpers(session, nativeBlocks(engine), calls),
        partials,
        allowProtoPropertiesByDefault: false,
        allowProtoMethodsByDefault: false,
      }),
  }
}

function nativeBlocks({ helpers: { each, with: withBlock } }: Engine) {
  if (each === undefined || withBlock === undefined) {
    throw new StepError('INTERNAL', 'handlebars has no each and with')
  }
  return { each, with: withBlock }
}

/** The template and all it includes; partials that include each other are a problem. */
async function collect(
  template: string,
  load: (file: string, included: boolean) => Promise<Unit | StepError>,
): Promise<{ units: Map<string, Unit>; problems: string[] }> {
  const units = new Map<string, Unit>()
  const problems: string[] = []
  const failed = new Set<string>()
  const visit = async (file: string, open: readonly string[]): Promise<void> => {
    if (open.includes(file)) {
      const problem = `${file}: includes itself (${[...open, file].join(' → ')})`
      if (!failed.has(file)) problems.push(problem)
      failed.add(file)
      return
    }
    if (units.has(file) || failed.has(file)) return
    const unit = await load(file, open.length > 0)
    if (unit instanceof StepError) {
      failed.add(file)
      problems.push(unit.message)
      return
    }
    for (const { file: include } of unit.needs.includes) await visit(include, [...open, file])
    units.set(file, unit)
  }
  await visit(template, [])
  return { units, problems }
}
