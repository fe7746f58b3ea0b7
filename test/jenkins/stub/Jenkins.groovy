import org.codehaus.groovy.control.CompilerConfiguration

/** The steps of a pipeline as far as the library and the Jenkinsfile use them; it writes all down. */
class Jenkins {
    List calls = []
    Map library = [:]
    Binding binding = new Binding()
    GroovyShell shell
    /** Answers of the people that `input` asks, first come first served. */
    List answers = []
    String branch = 'main'
    List environment = []
    File workspace
    Map build = [:]

    Jenkins(File vars, File workspace, Map variables) {
        this.workspace = workspace
        environment.add(variables)
        def configuration = new CompilerConfiguration(scriptBaseClass: 'StubScript')
        shell = new GroovyShell(getClass().classLoader, binding, configuration)
        binding.setVariable('jenkins', this)
        binding.setVariable('env', new Expando() {
            Object getProperty(String name) { Jenkins.this.environment.last()[name] }
        })
        binding.setVariable('currentBuild', build)
        binding.setVariable('scm', 'the checkout')
        for (name in ['any', 'none']) binding.setVariable(name, name)
        for (file in vars.listFiles().sort()) {
            if (!file.name.endsWith('.groovy')) continue
            def script = shell.parse(file)
            script.binding = binding
            String name = file.name - '.groovy'
            library[name] = script
            binding.setVariable(name, script)
        }
    }

    Object perform(String name, Object[] args) {
        if (library.containsKey(name)) return library[name].invokeMethod('call', args)
        def own = metaClass.respondsTo(this, "do_$name", args)
        if (!own) throw new MissingMethodException(name, Jenkins, args)
        return metaClass.invokeMethod(this, "do_$name".toString(), args)
    }

    void note(String name, Object what) { calls.add([name, what]) }

    // Basic steps.
    void do_echo(Object text) { note('echo', text.toString()) }
    void do_error(Object text) { throw new IllegalStateException(text.toString()) }
    void do_sleep(Map given) { note('sleep', "${given.time} ${given.unit}".toString()) }
    void do_checkout(Object what) { note('checkout', what) }
    Object do_timeout(Map given, Closure body) {
        note('timeout', "${given.time} ${given.unit}".toString())
        return body()
    }
    Map do_string(Map given) { given }
    Object do_script(Closure body) { body() }
    Object do_node(String label, Closure body) {
        note('node', label)
        return body()
    }
    Object do_input(Map given) {
        note('input', given)
        return answers.remove(0)
    }

    /** EnvVars.overrideExpandingAll: references are replaced, an empty value takes the variable away. */
    Object do_withEnv(List overrides, Closure body) {
        Map now = [:] + environment.last()
        for (line in overrides) {
            String text = line.toString()
            int at = text.indexOf('=')
            String value = expand(text.substring(at + 1), now)
            if (value == '') now.remove(text.substring(0, at)) else now[text.substring(0, at)] = value
        }
        environment.add(now)
        try {
            return body()
        } finally {
            environment.remove(environment.size() - 1)
        }
    }

    /** hudson.Util.replaceMacro. */
    private String expand(String text, Map variables) {
        return text.replaceAll(/\$([A-Za-z0-9_]+|\{[A-Za-z0-9_.]+\}|\$)/) { all, String name ->
            if (name == '$') return '$'
            return variables[name.replaceAll(/[{}]/, '')] ?: all
        }
    }

    /** A real shell, as an agent starts it. */
    String do_sh(Map given) {
        note('sh', given.script)
        def builder = new ProcessBuilder('sh', '-xe', '-c', given.script as String)
        builder.directory(workspace)
        builder.environment().putAll(environment.last())
        builder.redirectError(new File(workspace, 'console.log'))
        def process = builder.start()
        String said = process.inputStream.getText('UTF-8')
        int code = process.waitFor()
        if (code != 0) throw new IllegalStateException("script returned exit code $code")
        return said
    }

    // Declarative pipelines.
    void do_pipeline(Closure body) {
        Closure stages = null
        Closure always = null
        Words.read(body, [
            agent: { what -> note('agent', what) },
            stages: { Closure block -> stages = block },
            post: { Closure block -> Words.read(block, [always: { Closure work -> always = work }]) },
        ])
        try {
            runStages(stages)
        } finally {
            note('post', 'always')
            run(always)
        }
    }

    private void runStages(Closure block) {
        List found = []
        Words.read(block, [stage: { String name, Closure stage -> found.add([name, stage]) }])
        for (one in found) runStage(one[0], one[1])
    }

    private void runStage(String name, Closure body) {
        boolean wanted = true
        Closure steps = null
        Closure inner = null
        Object agent = null
        Words.read(body, [
            agent: { Closure block -> Words.read(block, [label: { String label -> agent = label }]) },
            when: { Closure block ->
                Words.read(block, [branch: { String one -> wanted = one == this.branch }])
            },
            steps: { Closure work -> steps = work },
            stages: { Closure block -> inner = block },
        ])
        if (!wanted) return
        note('stage', agent == null ? name : "$name on $agent".toString())
        if (steps != null) run(steps)
        if (inner != null) runStages(inner)
    }

    /** Steps know only the script and what it knows, not the words around them. */
    private void run(Closure work) {
        def script = work.thisObject
        work.rehydrate(script, script, script).call()
    }
}
