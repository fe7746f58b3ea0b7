/** How a Tomcat opens and ends, by its server.xml. */
export interface ServerXml {
  /** Milliseconds that it waits for running requests; undefined where the file names a property. */
  gracefulStop: number | undefined
  /** Whether every port opens only when the applications are ready. */
  opensWhenReady: boolean
}

/** Where Tomcat's own files are, by the variables of its image. */
export function tomcatFolder(variables: Readonly<Record<string, string>>): string | undefined {
  const folder = variables.CATALINA_BASE || variables.CATALINA_HOME
  return folder?.startsWith('/') ? folder : undefined
}

/** Attributes of https://tomcat.apache.org/tomcat-10.1-doc/config/service.html and http.html. */
export function readServerXml(xml: string): ServerXml {
  const text = xml.replace(/<!--.*?-->/gs, '')
  const waits = tags(text, 'Service').map((tag) => attribute(tag, 'gracefulStopAwaitMillis') ?? '0')
  const shortest = waits.map(Number).sort((a, b) => a - b)[0] ?? 0
  return {
    gracefulStop: waits.every((wait) => /^-?\d+$/.test(wait)) ? Math.max(0, shortest) : undefined,
    opensWhenReady: tags(text, 'Connector').every(
      (tag) => attribute(tag, 'bindOnInit') === 'false',
    ),
  }
}

function tags(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}(\\s(?:[^>"']|"[^"]*"|'[^']*')*)?/?>`, 'g'))].map(
    ([, attributes = '']) => attributes,
  )
}

function attribute(attributes: string, name: string): string | undefined {
  const found = new RegExp(`\\s${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`).exec(attributes)
  return found?.[1] ?? found?.[2]
}
