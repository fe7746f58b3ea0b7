// What all crosscloud… variables have in common. Call crosscloudDeploy and its like, not this.
import com.cloudbees.groovy.cps.NonCPS
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import io.crosscloud.StepFailed

/**
 * Runs one step with what a pipeline gave by name.
 *
 * @param about variable: what the caller is called; name: the step; inputs: the names it knows;
 *   attempts: how often it is tried where a registry, a database or a host does not answer
 * @param given the caller's arguments
 * @return the outputs by name
 */
Map step(Map about, Object[] given) {
    Map inputs = named(about.variable, about.inputs + common(), given)
    Map options = [attempts: about.attempts]
    for (String name : common()) {
        options[name] = inputs.remove(name)
    }
    return perform([about.name], options + [inputs: inputs])
}

/** What every step knows beside its inputs. */
List common() {
    return ['settings', 'server', 'junit', 'by']
}

/** Arguments by name. A parameter that is null is an error: the stage that sets it did not run. */
Map named(String variable, List known, Object[] given) {
    if (given == null || given.length > 1 || (given.length == 1 && !(given[0] instanceof Map))) {
        error("${variable} takes its parameters by name: ${variable}(${known[0]}: …). It knows: ${known.join(', ')}")
    }
    Map found = sorted(given.length == 0 ? [:] : (Map) given[0], known)
    if (found.unknown) {
        error("${variable} has no parameter ${found.unknown.join(', ')}. It knows: ${known.join(', ')}")
    }
    if (found.absent) {
        error("${variable}: ${found.absent.join(', ')} is null; did the stage that sets it run? " +
            'Leave a parameter out to get its default')
    }
    if (found.maps) {
        error("${variable}: ${found.maps.join(', ')} is a map; give a text, a number, true, false or a list")
    }
    if (found.values.containsKey('release') && found.values.release == '') {
        error("${variable}: release is empty; did the stage that sets it run?")
    }
    return found.values
}

@NonCPS
private Map sorted(Map given, List known) {
    Map found = [values: [:], unknown: [], absent: [], maps: []]
    given.each { key, value ->
        String name = key.toString()
        if (!known.contains(name)) {
            found.unknown.add(name)
        } else if (value == null) {
            found.absent.add(name)
        } else if (value instanceof Map) {
            found.maps.add(name)
        } else if (value instanceof Collection) {
            found.values[name] = value.collect { it.toString() }
        } else {
            found.values[name] = value instanceof Boolean ? value : value.toString()
        }
    }
    return found
}

/**
 * Runs a command of crosscloud and answers the document it prints.
 *
 * @param words the command; each reaches it as it is
 * @param options inputs: those of a step; settings: the crosscloud.yml to use; server: the address of
 *   one that runs the step; junit: a report to write; by: whose deed it is; attempts: 3 where none are told
 */
Map perform(List words, Map options = [:]) {
    int attempts = options.attempts ?: 3
    Map answer = [:]
    for (int attempt = 1; attempt <= attempts; attempt++) {
        answer = run(words + ['--json'], options)
        if (answer.code != 75 || attempt == attempts) {
            break
        }
        echo("crosscloud ${words[0]}: trying again, ${attempt + 1} of ${attempts}")
        sleep(time: 10 * attempt, unit: 'SECONDS')
    }
    Map outputs = read(answer.text)
    if (answer.code == 0 && outputs != null) {
        return outputs
    }
    throw failed(words.join(' '), answer, outputs ?: [:])
}

private StepFailed failed(String command, Map answer, Map outputs) {
    if (answer.code == 0) {
        return new StepFailed("crosscloud ${command} ended well, but printed no JSON document: is it " +
            'crosscloud that CROSSCLOUD_COMMAND names?', 1, '', '')
    }
    Map fault = outputs.error instanceof Map ? outputs.error : [message: outputs.error]
    String what = fault.message ?: 'it said nothing; see above'
    String hint = fault.hint ?: ''
    String next = hint ? "\n  → ${hint}" : ''
    return new StepFailed("crosscloud ${command} ended with exit code ${answer.code}: ${what}${next}",
        (int) answer.code, (String) (fault.code ?: ''), hint)
}

/**
 * Runs a command of crosscloud once; see perform.
 *
 * @return code: its exit code; text: what it printed. Its log is on the console already.
 */
Map run(List words, Map options = [:]) {
    // Variables reach the command unchanged, where ASCII does; a shell reads none of them as a script.
    List variables = ["CROSSCLOUD_INPUTS=${options.inputs ? JsonOutput.toJson((Map) options.inputs) : ''}".toString()]
    if (options.by) {
        variables.add("BUILD_USER_ID=${options.by}".toString())
    }
    if (options.server) {
        variables.add("CROSSCLOUD_SERVER=${options.server}".toString())
    }
    List all = new ArrayList(words)
    for (String name : ['settings', 'junit']) {
        if (options[name]) {
            all.addAll(["--${name}".toString(), options[name]])
        }
    }
    String said = ''
    withEnv(variables) {
        said = sh(
            label: "crosscloud ${words[0]}",
            returnStdout: true,
            encoding: 'UTF-8',
            script: scriptOf(all, libraryResource('crosscloud/start.sh'))
        )
    }
    return ended(said)
}

/** Which command runs is decided in the shell: an image's variables are not in Groovy's `env`. */
private String scriptOf(List words, String start) {
    return """{ set +x; } 2>/dev/null
crosscloud_command=\${CROSSCLOUD_COMMAND:-}
crosscloud_package=\${CROSSCLOUD_PACKAGE:-}
crosscloud_sha512=\${CROSSCLOUD_PACKAGE_SHA512:-}
${start}
code=0
crosscloud ${quoted(words)} || code=\$?
echo
echo "${marker()}\$code"
"""
}

private String marker() {
    return 'crosscloud-exit-code='
}

@NonCPS
private String quoted(List words) {
    return words.collect { "'" + it.toString().replace("'", "'\\''") + "'" }.join(' ')
}

/** The code is the last line; the same words anywhere else are the command's own. */
private Map ended(String said) {
    int at = said.lastIndexOf(marker())
    String code = at < 0 ? '' : said.substring(at + marker().length()).trim()
    if (!code.matches('[0-9]{1,3}')) {
        error("the shell ended without an exit code; it printed: ${said}")
    }
    return [code: Integer.parseInt(code), text: said.substring(0, at).trim()]
}

/** A document as plain maps and lists, which survive a restart of Jenkins; null where there is none. */
@NonCPS
private Map read(String text) {
    try {
        Object document = new JsonSlurper().parseText(text)
        return document instanceof Map ? (Map) copied(document) : null
    } catch (Exception error) {
        return null
    }
}

@NonCPS
private Object copied(Object value) {
    if (value instanceof Map) {
        Map plain = [:]
        value.each { key, one -> plain[key] = copied(one) }
        return plain
    }
    return value instanceof List ? value.collect { copied(it) } : value
}
