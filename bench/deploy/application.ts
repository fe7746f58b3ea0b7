import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StepError } from '../../src/core/errors.ts'
import { run } from '../../src/core/process/process.ts'
import { writeWar } from '../../test/support/data/war.ts'
import { readJars } from '../jars.ts'

const SERVLETS = '/usr/share/java/jakarta-servlet-api.jar'
const SOURCE = join(import.meta.dirname, 'Orders.java')

const WEB_XML = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0" metadata-complete="true">
  <servlet>
    <servlet-name>orders</servlet-name>
    <servlet-class>Orders</servlet-class>
    <load-on-startup>1</load-on-startup>
  </servlet>
  <servlet-mapping>
    <servlet-name>orders</servlet-name>
    <url-pattern>/health</url-pattern>
    <url-pattern>/order</url-pattern>
    <url-pattern>/login</url-pattern>
    <url-pattern>/me</url-pattern>
  </servlet-mapping>
</web-app>
`

/** Sessions are kept in a folder that both slots see, and written after each request. */
const CONTEXT_XML = `<Context>
  <Valve className="org.apache.catalina.valves.PersistentValve"/>
  <Manager className="org.apache.catalina.session.PersistentManager">
    <Store className="org.apache.catalina.session.FileStore" directory="/sessions"/>
  </Manager>
</Context>
`

/** Tomcat as it must be behind a proxy: it listens once it is ready, and stops gracefully. */
export const SERVER_XML = `<Server port="-1">
  <Service name="Catalina" gracefulStopAwaitMillis="30000">
    <Connector port="8080" protocol="HTTP/1.1" bindOnInit="false"
               keepAliveTimeout="15000" maxKeepAliveRequests="1000"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>
`

/** The base's own, but for jars: none of the application's is searched for annotations. */
export async function catalinaProperties(layerPath: string): Promise<string> {
  const name = './etc/tomcat10/catalina.properties'
  const { stdout } = await run('tar', ['-xzOf', layerPath, name])
  return `${stdout}\ntomcat.util.scan.StandardJarScanFilter.jarsToSkip=*.jar\n`
}

/** Makes the WAR of a release: one servlet and every jar of Debian's, of which it needs none. */
export async function openApplication(folder: string) {
  const jars = await readJars()
  await run('javac', ['--release', '17', '-cp', SERVLETS, '-d', folder, SOURCE]).catch((cause) => {
    throw new StepError('COMMAND_FAILED', "the bench's servlet could not be compiled", {
      hint: 'apt-get install default-jdk-headless libjakarta-servlet-api-java',
      cause,
    })
  })
  const servlet = await readFile(join(folder, 'Orders.class'))
  const libraries = [...jars].map(([name, content]) => [`WEB-INF/lib/${name}`, content])
  return (path: string, version: string) =>
    writeWar(
      path,
      {
        ...Object.fromEntries(libraries),
        'META-INF/context.xml': CONTEXT_XML,
        'WEB-INF/classes/Orders.class': servlet,
        'WEB-INF/release': version,
        'WEB-INF/web.xml': WEB_XML,
      },
      { compress: (name) => !name.endsWith('.jar') },
    )
}
