import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { StepError } from '../core/errors.ts'
import { run } from '../core/process/process.ts'
import { makeWhole } from './leftovers.ts'
import { exists, findProgram } from './packages.ts'

const COPY_REPO = '/usr/share/maven-debian-helper/copy-repo.sh'

/** What examples/webapi/pom.xml names, and Debian's Maven itself, as paths of a Maven repository. */
const pinned = [
  'org/apache/maven/plugins/maven-clean-plugin/3.2.0/maven-clean-plugin-3.2.0',
  'org/apache/maven/plugins/maven-compiler-plugin/3.10.1/maven-compiler-plugin-3.10.1',
  'org/apache/maven/plugins/maven-resources-plugin/3.3.0/maven-resources-plugin-3.3.0',
  'org/apache/maven/plugins/maven-surefire-plugin/2.22.3/maven-surefire-plugin-2.22.3',
  'org/apache/maven/plugins/maven-war-plugin/3.3.2/maven-war-plugin-3.3.2',
  'jakarta/servlet/jakarta.servlet-api/5.0.0/jakarta.servlet-api-5.0.0',
]

/** Asked for by a plugin's ancient pom; Debian ships a newer one that serves. */
const PLEXUS_UTILS = 'org/codehaus/plexus/plexus-utils/1.1/plexus-utils-1.1'
const PLEXUS_UTILS_POM = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.codehaus.plexus</groupId>
  <artifactId>plexus-utils</artifactId>
  <version>1.1</version>
</project>
`

/**
 * Makes Maven able to build the example, and returns the arguments it then needs. With Debian's
 * Maven repository that is a local repository of links, used offline; any other Maven is taken as
 * it is, and fetches from where its own settings point. NOT_FOUND when there is no Maven.
 */
export async function prepareMaven(
  folder: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<string[]> {
  if (!(await findProgram('mvn')) || !(await findProgram('javac'))) {
    throw new StepError('NOT_FOUND', 'Maven or a Java compiler is missing', {
      hint: 'Install Maven and a JDK of version 17 or newer.',
    })
  }
  if (!(await exists(COPY_REPO))) return []
  const missing = await lacking('/usr/share/maven-repo')
  if (missing.length > 0) return []
  const made = resolve(folder, 'maven')
  const repository = join(made, 'maven-repo')
  if ((await lacking(repository, [...pinned, PLEXUS_UTILS])).length > 0) {
    await makeWhole(made, (unfinished) => linkRepository(unfinished, signal))
  }
  return ['-o', `-Dmaven.repo.local=${repository}`]
}

async function linkRepository(folder: string, signal: AbortSignal | undefined): Promise<void> {
  // The script does not quote its argument; a relative one works in any folder.
  await run('sh', [COPY_REPO, '.'], { cwd: folder, signal })
  const target = join(folder, 'maven-repo', PLEXUS_UTILS)
  await mkdir(join(target, '..'), { recursive: true })
  await writeFile(`${target}.pom`, PLEXUS_UTILS_POM)
  await symlink('/usr/share/java/plexus-utils2.jar', `${target}.jar`)
}

/** The artifacts a repository does not have whole; a link to a package since upgraded counts. */
async function lacking(repository: string, artifacts = pinned): Promise<string[]> {
  const found = await Promise.all(
    artifacts.map(async (artifact) => {
      const path = join(repository, artifact)
      return (await exists(`${path}.pom`)) && (await exists(`${path}.jar`))
    }),
  )
  return artifacts.filter((_, index) => !found[index])
}
