import {
  type Rendered,
  type RenderOptions,
  renderAll,
} from '../../../src/config/template/render.ts'
import { type ConfigTemplate, readTemplates } from '../../../src/config/template/resources.ts'
import { compileTemplates } from '../../../src/config/template/templates.ts'
import { isStepError, type StepError } from '../../../src/core/errors.ts'

export type Files = Record<string, string>

export const resource = (fields: Files) =>
  `[template]\n${Object.entries({ src: '"a.hbs"', dest: '"/etc/a"', ...fields })
    .map(([k, v]) => `${k} = ${v}\n`)
    .join('')}`
export const read = (files: Files) =>
  readTemplates(new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)])))
/** Templates by name, all with one prefix and all keys below it. */
export const templates = (sources: Files, fields: Files = {}) => {
  const files: Files = {}
  for (const [name, text] of Object.entries(sources)) {
    files[`templates/${name}`] = text
    if (!name.startsWith('_')) {
      files[`conf.d/${name}.toml`] = resource({
        src: `"${name}"`,
        dest: `"/etc/${name}"`,
        ...fields,
      })
    }
  }
  return read(files)
}
type ToRender = Omit<RenderOptions, 'templates'> & { templates: readonly ConfigTemplate[] }

/** Compiles without a cache, and renders. */
export const render = async ({ templates, ...rest }: ToRender): Promise<Rendered> =>
  renderAll({ ...rest, templates: await compileTemplates(templates) })
export const one = async (
  source: string,
  keys: Files = {},
  options: Partial<ToRender> & { partials?: Files } = {},
): Promise<string> => {
  const { partials = {}, ...rest } = options
  const { files } = await render({
    templates: templates({ 'a.hbs': source, ...partials }),
    snapshot: new Map(Object.entries(keys)),
    environment: 'staging',
    ...rest,
  })
  return String(files[0]?.content)
}
export const failure = async (work: () => Promise<unknown>): Promise<StepError> => {
  try {
    await work()
  } catch (error) {
    if (isStepError(error)) return error
    throw error
  }
  throw new Error('it did not fail')
}

export const keys: Files = {
  '/db/url': 'jdbc:x',
  '/db/user': 'app',
  '/db/empty': '',
  '/db/pool/min': '1',
  '/db/pool/max': '10',
  '/spaces': 'x  ',
  '/flag': 'true',
  '/n': '7',
  '/up/b': '10.0.0.2',
  '/up/a': '10.0.0.9',
  '/up/c': '10.0.0.1',
  '/up/x/y': 'deep',
  '/csv': 'a,b,c',
  '/upper/ｚ': 'bmp',
  '/upper/😀': 'astral',
  '/json':
    '{"b":1e7,"a":1.10,"n":12345678901234567890,"i":5,"l":[1,{"x":"y"}],"s":"1e7","t":true,"z":null,"__proto__":{"q":"w"}}',
  '/array': '["x",2,3.0]',
}
