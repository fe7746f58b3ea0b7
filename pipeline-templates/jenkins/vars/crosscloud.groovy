// What all crosscloud… steps have in common. Call crosscloudDeploy and its like, not this.
import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic

/**
 * Runs one step. Its inputs travel in environment variables; no shell ever reads them as a script.
 * Where the registry, the database or a host did not answer, it is tried again, three times in all.
 *
 * @param name the step: deploy
 * @param known name of each parameter → its variable
 * @param inputs what the caller gave; null and an empty text count as not given
 * @return the outputs by name
 */
Map step(String name, Map known, Map inputs) {
    List variables = variablesOf(name, known, inputs)
    Map answer = [:]
    withEnv(variables + ["CROSSCLOUD_COMMAND=${plain(command())}"]) {
        for (int attempt = 1; attempt <= 3; attempt++) {
            answer = ask(name)
            if (answer.code != 75 || attempt == 3) {
                break
            }
            echo("crosscloud ${name}: trying again, ${attempt + 1} of 3")
            sleep(time: 10 * attempt, unit: 'SECONDS')
        }
    }
    if (answer.code == 0) {
        return answer.outputs
    }
    Map fault = answer.outputs.error ?: [:]
    String what = fault.message ?: 'it said nothing; see above'
    String hint = fault.hint ? "\n  → ${fault.hint}" : ''
    error("crosscloud ${name} ended with exit code ${answer.code}: ${what}${hint}")
}

/** The program and the flags before the step; CROSSCLOUD_COMMAND says another. Split at spaces. */
String command() {
    return env.CROSSCLOUD_COMMAND ?: 'npx --yes crosscloud@0.1.0'
}

/** A text that withEnv, which replaces $NAME and ${NAME}, leaves as it is. */
String plain(Object value) {
    return value.toString().replace('$', '$$')
}

private List variablesOf(String name, Map known, Map inputs) {
    List unknown = []
    List variables = []
    for (String input : new ArrayList(inputs.keySet())) {
        Object value = inputs[input]
        if (!known.containsKey(input)) {
            unknown.add(input)
        } else if (value instanceof Map) {
            error("crosscloud ${name}: ${input} is a map; give a text, a number, true, false or a list")
        } else if (value instanceof Collection) {
            variables.add("${known[input]}=${plain(JsonOutput.toJson(textsOf(value)))}".toString())
        } else if (value != null) {
            variables.add("${known[input]}=${plain(value)}".toString())
        }
    }
    if (unknown) {
        String names = known.keySet().join(', ')
        error("crosscloud ${name} has no parameter ${unknown.join(', ')}. It knows: ${names}")
    }
    return variables
}

private List textsOf(Collection values) {
    List texts = []
    for (Object value : values) {
        texts.add(value.toString())
    }
    return texts
}

/** Exit code and the JSON document that was printed; logs go to the console by themselves. */
private Map ask(String name) {
    String marker = 'crosscloud-exit-code='
    String said = sh(
        label: "crosscloud ${name}",
        returnStdout: true,
        script: '$CROSSCLOUD_COMMAND ' + name + ' --json || echo "' + marker + '$?"'
    ).trim()
    int code = 0
    int at = said.lastIndexOf(marker)
    if (at >= 0) {
        code = said.substring(at + marker.length()).toInteger()
        said = said.substring(0, at).trim()
    }
    // A class that can be kept over a restart of Jenkins; JsonSlurper's lazy maps cannot.
    Map outputs = said.startsWith('{') ? (Map) new JsonSlurperClassic().parseText(said) : [:]
    return [code: code, outputs: outputs]
}
