import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { run } from '../../src/core/process/process.ts'
import { findProgram } from '../support/servers/server.ts'
import { TOOLS_FOLDER, type Tool } from './tools.ts'

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>org.springframework.boot</groupId>
    <artifactId>spring-boot-starter-parent</artifactId>
    <version>3.4.5</version>
    <relativePath/>
  </parent>
  <groupId>com.example</groupId>
  <artifactId>boot</artifactId>
  <version>1</version>
  <packaging>war</packaging>
  <properties><java.version>17</java.version></properties>
  <dependencies>
    <dependency>
      <groupId>org.springframework.boot</groupId>
      <artifactId>spring-boot-starter-web</artifactId>
    </dependency>
    <dependency>
      <groupId>org.springframework.boot</groupId>
      <artifactId>spring-boot-starter-tomcat</artifactId>
      <scope>provided</scope>
    </dependency>
  </dependencies>
  <build><finalName>boot</finalName></build>
</project>
`

const APPLICATION = `package com.example;

import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.servlet.support.SpringBootServletInitializer;

@SpringBootApplication
public class Boot extends SpringBootServletInitializer {
}
`

/** Where a Spring Boot application keeps a style sheet. */
export const STYLE = 'src/main/resources/static/app.css'

const REPOSITORY = `-Dmaven.repo.local=${join(TOOLS_FOLDER, 'maven')}`
/** For Maven, once the tool is prepared. */
export const bootArgs = ['-o', '-q', '-Dmaven.test.skip=true', REPOSITORY]

/** A Spring Boot application of one style sheet, as a project for Maven. */
export async function writeBoot(folder: string, style: string): Promise<void> {
  const files = {
    'pom.xml': POM,
    'src/main/java/com/example/Boot.java': APPLICATION,
    [STYLE]: style,
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
}

const project = join(TOOLS_FOLDER, 'spring-boot')
const build = (...args: string[]) =>
  run('mvn', ['-B', 'clean', 'package', '-q', '-Dmaven.test.skip=true', REPOSITORY, ...args], {
    cwd: project,
  })

export const springBoot: Tool = {
  name: 'Spring Boot',
  async prepare() {
    await writeBoot(project, '')
    await build('-o').catch(() => build())
  },
}

/** Why no Spring Boot application can be built here; false when one can. */
export async function noSpringBoot(): Promise<string | false> {
  if (!findProgram('mvn')) return 'needs mvn (Debian package maven)'
  return build('-o').then(
    () => false,
    () => 'needs Spring Boot; `npm run test:engines` gets it where Maven can',
  )
}
