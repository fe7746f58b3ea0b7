// groovy -cp test/jenkins/stub run.groovy <folder of the library> <cases.json> <workspace>
import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic

def (library, cases, workspace) = args.collect { new File(it) }
def results = new JsonSlurperClassic().parse(cases).collect { one ->
    def jenkins = new Jenkins(new File(library, 'vars'), workspace, one.variables)
    jenkins.answers = one.answers ?: []
    jenkins.branch = one.branch ?: 'main'
    def result = [:]
    try {
        if (one.call == 'Jenkinsfile') {
            jenkins.shell.evaluate(new File(library, 'Jenkinsfile'))
        } else {
            def answer = jenkins.perform(one.call, one.containsKey('inputs') ? [one.inputs] as Object[] : [] as Object[])
            // What a pipeline holds while it waits must survive a restart of Jenkins.
            new ObjectOutputStream(new ByteArrayOutputStream()).writeObject(answer)
            result.answer = answer
        }
    } catch (Exception error) {
        result.error = error.message
    }
    result.calls = jenkins.calls
    result.build = jenkins.build
    return result
}
println(JsonOutput.toJson(results))
