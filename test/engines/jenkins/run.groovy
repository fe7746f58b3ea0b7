// run <this folder> <folder of the library> <builds.json> <results.json>
import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic

def (harness, library, builds, results) = args.collect { new File(it) }
def answers = new JsonSlurperClassic().parse(builds, 'UTF-8').collect { build ->
    def result = [name: build.name]
    def engine = new Engine(harness, library, build)
    if (build.number) engine.state.currentBuild.number = build.number
    def guard = build.sandbox ? new Sandbox(new File(harness, 'allowed.txt')) : null
    guard?.register()
    try {
        result.answer = engine.run(build.script, 'WorkflowScript')
        // What a pipeline holds while it waits must survive a restart.
        new ObjectOutputStream(new ByteArrayOutputStream()).writeObject(result.answer)
    } catch (Throwable error) {
        result.error = error.message ?: error.class.name
        result.thrown = error.class.name
        if (System.getenv('TRACE')) error.printStackTrace()
    } finally {
        guard?.unregister()
    }
    result.calls = engine.steps.calls
    result.build = engine.state.currentBuild
    result.restarts = engine.restarts
    result.refused = guard?.refused
    return result
}
results.setText(JsonOutput.toJson(answers), 'UTF-8')
