import type { EventEmitter } from 'node:events'
import { Argument, type Command, Option } from 'commander'

/** A command as data: what its help shows, and how its command line is read. */
export interface CommandDescription {
  name: string
  description: string
  arguments: { text: string; description: string }[]
  options: OptionDescription[]
  /** What the help shows after all else: an example. */
  after: string
  commands: CommandDescription[]
}

interface OptionDescription {
  flags: string
  description: string
  default?: unknown
  choices?: string[]
  hidden?: true
  mandatory?: true
}

export function describeCommand(command: Command): CommandDescription {
  return {
    name: command.name(),
    description: command.description(),
    arguments: command.registeredArguments.map((argument) => ({
      text: argumentText(argument),
      description: argument.description,
    })),
    options: command.options.map(describeOption),
    after: textAfterHelp(command),
    commands: command.commands.map(describeCommand),
  }
}

function argumentText(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`
  return argument.required ? `<${name}>` : `[${name}]`
}

function describeOption(option: Option): OptionDescription {
  const { flags, description, defaultValue, argChoices, hidden, mandatory } = option
  return {
    flags,
    description,
    ...(defaultValue !== undefined && { default: defaultValue }),
    ...(argChoices && { choices: argChoices }),
    ...(hidden && { hidden }),
    ...(mandatory && { mandatory }),
  }
}

/** Commander keeps these texts with the listeners of an event. */
function textAfterHelp(command: Command): string {
  let text = ''
  const write = (part: string) => {
    text += part
  }
  const emitter = command as unknown as EventEmitter
  emitter.emit('afterHelp', { error: false, command, write })
  return text.replace(/\n$/, '')
}

/** Gives a program the commands of a description; `action` is what each of them does. */
export function addDescribed(
  parent: Command,
  commands: readonly CommandDescription[],
  action: () => void,
): void {
  for (const { name, description, options, after, ...rest } of commands) {
    const command = parent.command(name).description(description)
    for (const { text, description } of rest.arguments) {
      command.addArgument(new Argument(text, description))
    }
    for (const option of options) command.addOption(buildOption(option))
    if (after) command.addHelpText('after', after)
    if (rest.commands.length === 0) command.action(action)
    else addDescribed(command, rest.commands, action)
  }
}

function buildOption(described: OptionDescription): Option {
  const option = new Option(described.flags, described.description)
  if (described.default !== undefined) option.default(described.default)
  if (described.choices) option.choices(described.choices)
  return option
    .hideHelp(described.hidden ?? false)
    .makeOptionMandatory(described.mandatory ?? false)
}
