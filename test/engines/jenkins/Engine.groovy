import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.CpsTransformer
import com.cloudbees.groovy.cps.Envs
import com.cloudbees.groovy.cps.ObjectInputStreamWithLoader
import com.cloudbees.groovy.cps.Outcome
import com.cloudbees.groovy.cps.TransformerConfiguration
import com.cloudbees.groovy.cps.impl.CpsCallableInvocation
import com.cloudbees.groovy.cps.sandbox.DefaultInvoker
import com.cloudbees.groovy.cps.sandbox.SandboxInvoker
import org.codehaus.groovy.control.CompilerConfiguration

/** Runs one build with Jenkins' own transformation, and restarts Jenkins at every step of it. */
class Engine {
    static Engine current
    /** Compiled once, for what is trusted and for what is not. */
    private static final Map<Boolean, GroovyShell> shells = [:]
    static final List<Class> CATEGORIES = Continuable.categories + [Iterators]

    State state = new State()
    final Map build
    final Steps steps
    final GroovyShell shell
    final boolean sandbox
    int restarts = 0

    Engine(File harness, File library, Map build) {
        this.build = build
        sandbox = build.sandbox ?: false
        shell = shells.get(sandbox) ?: shellOf(library)
        shells[sandbox] = shell
        steps = new Steps(this, library)
        current = this
        new File(library, 'vars').listFiles().sort().each { file ->
            if (file.name.endsWith('.groovy')) declare(file)
        }
        declare(new File(harness, 'pipeline/Declarative.groovy'))
    }

    private GroovyShell shellOf(File library) {
        def configuration = new CompilerConfiguration(scriptBaseClass: 'PipelineScript')
        CpsTransformer transformer = sandbox ? new UntrustedTransformer() : new CpsTransformer()
        transformer.configuration = new TransformerConfiguration()
        configuration.addCompilationCustomizers(transformer)
        def made = new GroovyShell(Engine.classLoader, new Binding(), configuration)
        made.classLoader.addClasspath(new File(library, 'src').path)
        return made
    }

    private void declare(File file) {
        Class type = shell.classLoader.parseClass(new GroovyCodeSource(file, 'UTF-8'), true)
        state.library[file.name - '.groovy'] = (Script) type.newInstance()
    }

    /** What every script finds under these names. */
    Map<String, Object> globals() {
        return state.library + [
            env: new Env(), params: build.parameters ?: [:], currentBuild: state.currentBuild,
            scm: 'the checkout', docker: new Docker(), any: 'any', none: 'none',
        ]
    }

    /** The variables that Groovy knows: never those of the agent's own machine or image. */
    Map<String, String> known() {
        Map all = [:] + (build.environment ?: [:]) + state.assigned
        for (frame in state.frames) override(all, frame.variables)
        return all
    }

    /** EnvVars.overrideAll: nothing is expanded; an empty value takes the variable away. */
    static void override(Map all, Map more) {
        more.each { name, value ->
            if (value == null || value == '') all.remove(name) else all[name] = value
        }
    }

    Object run(String text, String name) {
        Script script = shell.parse(text, name)
        script.binding = new Binding()
        state.frames.add(new Frame(step: 'pipeline', program: new Continuable(script, environment())))
        Outcome next = new Outcome(null, null)
        while (true) {
            Frame frame = state.frames.last()
            Outcome said = frame.program.run0(next, CATEGORIES)
            if (frame.program.resumable) {
                state.request = (Request) said.replay()
                restart()
                next = perform(state.request)
                continue
            }
            state.frames.remove(state.frames.size() - 1)
            if (state.frames.empty) return said.replay()
            next = frame.catches && said.failure ? steps.caught(said.abnormal) : said
            restart()
        }
    }

    private environment() { Envs.empty(sandbox ? new SandboxInvoker() : new DefaultInvoker()) }

    /** Jenkins stops, and starts again: only what was written is left. */
    private void restart() {
        def bytes = new ByteArrayOutputStream()
        new ObjectOutputStream(bytes).withCloseable { it.writeObject(state) }
        def input = new ByteArrayInputStream(bytes.toByteArray())
        state = (State) new ObjectInputStreamWithLoader(input, shell.classLoader).readObject()
        restarts++
    }

    private Outcome perform(Request request) {
        try {
            Object[] given = request.arguments as Object[]
            if (!steps.metaClass.respondsTo(steps, request.name)) {
                throw new NoSuchMethodError("No such DSL method '${request.name}' found among steps")
            }
            return new Outcome(steps.metaClass.invokeMethod(steps, request.name, given), null)
        } catch (Throwable error) {
            return new Outcome(null, org.codehaus.groovy.runtime.StackTraceUtils.extractRootCause(error))
        }
    }

    /** Runs the body of a step before anything else goes on. */
    void enter(Map frame, Closure body) {
        try {
            body.call()
            throw new IllegalStateException('the body of a step is no transformed code')
        } catch (CpsCallableInvocation call) {
            frame.program = new Continuable(call.asBlock(), environment())
        }
        state.frames.add(new Frame(frame))
    }
}
