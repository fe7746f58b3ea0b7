/** The steps of a pipeline, as far as the library and the handed Jenkinsfiles use them. It writes all down. */
class Steps {
    private final Engine engine
    private final File library
    final List calls = []

    Steps(Engine engine, File library) {
        this.engine = engine
        this.library = library
    }

    private void note(String name, Object what) { calls.add([name, what]) }

    void echo(Object text) { note('echo', text.toString()) }
    void error(Object text) { throw new AbortException(text.toString()) }
    void sleep(Map given) { note('sleep', "${given.time} ${given.unit}".toString()) }
    void milestone(Integer ordinal) {
        note('milestone', ordinal)
        Integer newest = (engine.build.milestones ?: [:])[ordinal.toString()]
        if (newest != null && newest > engine.state.currentBuild.number) {
            throw new FlowInterruptedException('NOT_BUILT', "Superseded by #$newest")
        }
    }
    void properties(List all) { note('properties', all) }
    Map disableConcurrentBuilds(Map given = [:]) { [disableConcurrentBuilds: given] }
    Map buildDiscarder(Map given) { [buildDiscarder: given] }
    Map logRotator(Map given) { given }
    Map string(Map given) { given }
    Map usernamePassword(Map given) { given }
    Map file(Map given) { given }

    Map checkout(Object what) {
        note('checkout', what)
        requireNode('checkout')
        return engine.build.checkout ?: [:]
    }
    Map junit(Object given) {
        requireNode('junit')
        String pattern = given instanceof Map ? given.testResults : given
        def matcher = java.nio.file.FileSystems.default.getPathMatcher("glob:$pattern")
        List files = folder().listFiles().findAll { matcher.matches(it.toPath().fileName) }.collect { it.path }
        if (!files && !(given instanceof Map && given.allowEmptyResults)) {
            throw new AbortException('No test report files were found. Configuration error?')
        }
        int failed = files.sum(0) { new XmlSlurper().parse(new File(it)).testcase.failure.size() }
        note('junit', files.collect { new File(it).name }.sort())
        if (failed > 0) engine.state.currentBuild.result = 'UNSTABLE'
        return [failCount: failed]
    }
    String libraryResource(String path) {
        File found = new File(library, "resources/$path")
        if (!found.exists()) throw new AbortException("No such library resource $path could be found.")
        return found.getText('UTF-8')
    }
    boolean isBeforeRestart(String stage) {
        if (stage == engine.build.restartFrom) engine.build.restartFrom = null
        return engine.build.restartFrom != null
    }
    boolean fileExists(String path) { new File(folder(), path).exists() }

    Object input(Map given) {
        note('input', given)
        if (engine.state.frames.any { it.node != null }) note('input holds an agent', given.message)
        List answers = engine.build.answers
        if (!answers) throw new FlowInterruptedException('ABORTED', 'nobody answered')
        Object answer = answers.remove(0)
        if (answer instanceof Map && answer.interrupt) {
            throw new FlowInterruptedException('ABORTED', answer.interrupt)
        }
        return answer
    }

    void withEnv(List lines, Closure body) {
        Map variables = lines.collectEntries { line ->
            int at = line.toString().indexOf('=')
            [(line.toString().substring(0, at)): line.toString().substring(at + 1)]
        }
        engine.enter([step: 'withEnv', variables: variables], body)
    }
    void withCredentials(List bindings, Closure body) {
        Map variables = bindings.collectEntries { given ->
            String secret = (engine.build.credentials ?: [:])[given.credentialsId]
            if (secret == null) throw new AbortException("Could not find credentials entry with ID '${given.credentialsId}'")
            given.usernameVariable
                ? [(given.usernameVariable): secret.split(':')[0], (given.passwordVariable): secret.split(':')[1]]
                : [(given.variable): secret]
        }
        engine.enter([step: 'withCredentials', variables: variables], body)
    }
    void node(String label = '', Closure body) {
        note('node', label)
        engine.enter([step: 'node', node: label], body)
    }
    void insideImage(String name, Closure body) {
        note('image', name)
        requireNode('docker')
        engine.enter([step: 'inside', image: name], body)
    }
    void stage(String name, Closure body) {
        note('stage', name)
        engine.enter([step: 'stage'], body)
    }
    void timeout(Map given, Closure body) {
        note('timeout', "${given.time} ${given.unit}".toString())
        engine.enter([step: 'timeout'], body)
    }
    void dir(String path, Closure body) { engine.enter([step: 'dir', folder: path], body) }
    void script(Closure body) { engine.enter([step: 'script'], body) }
    void catchError(Map given = [:], Closure body) { engine.enter([step: 'catchError', catches: true], body) }

    com.cloudbees.groovy.cps.Outcome caught(Throwable error) {
        note('caught', error.message)
        engine.state.currentBuild.result = 'FAILURE'
        return new com.cloudbees.groovy.cps.Outcome(null, null)
    }

    /** A real shell, as an agent starts it. */
    Object sh(Object asked) {
        Map given = asked instanceof Map ? asked : [script: asked]
        requireNode('sh')
        File script = File.createTempFile('script', '.sh')
        script.setText(given.script.toString(), 'UTF-8')
        def builder = new ProcessBuilder('sh', '-xe', script.path)
        builder.directory(folder())
        builder.environment().clear()
        variables().each { name, value -> builder.environment().put(name, onAgent(value)) }
        File log = new File(engine.build.console)
        builder.redirectError(ProcessBuilder.Redirect.appendTo(log))
        note('sh', given.label ?: given.script)
        Process process = builder.start()
        process.outputStream.close()
        byte[] said = process.inputStream.bytes
        int code = process.waitFor()
        script.delete()
        if (!given.returnStdout) log.append(said)
        if (given.returnStatus) return code
        if (code != 0) throw new AbortException("script returned exit code $code")
        if (!given.returnStdout) return null
        return new String(said, (String) (given.encoding ?: (engine.build.ascii ? 'US-ASCII' : 'UTF-8')))
    }

    /** The machine's, or the image's; then what Groovy knows. */
    private Map<String, String> variables() {
        String image = engine.state.frames.findResult { it.image }
        Map own = image == null ? engine.build.agent : (engine.build.images ?: [:])[image]
        if (own == null) throw new AbortException("there is no image $image")
        Map all = [PATH: System.getenv('PATH')] + own
        Engine.override(all, engine.known())
        return all
    }

    /** A Java without a UTF-8 locale loses what is not ASCII. */
    private String onAgent(String value) {
        engine.build.ascii ? value.replaceAll(/[^\x00-\x7f]/, '?') : value
    }

    private File folder() {
        File at = new File(engine.build.workspace)
        for (frame in engine.state.frames) if (frame.folder != null) at = new File(at, frame.folder)
        return at
    }

    private void requireNode(String step) {
        if (engine.state.frames.any { it.node != null }) return
        throw new AbortException("Required context class hudson.FilePath is missing: $step needs a node")
    }
}
