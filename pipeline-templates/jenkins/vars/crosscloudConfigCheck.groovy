// Written by hand; crosscloudConfigCheck.txt is its help.
import io.crosscloud.StepFailed

/** Checks the config of environments and reports what is wrong as tests; all are looked at. */
void call(Object... given) {
    Map inputs = crosscloud.named('crosscloudConfigCheck', ['environments', 'strict', 'settings'], given)
    Map options = [settings: inputs.settings]
    List environments = inputs.environments ?: namesOf(options)
    String reports = 'crosscloud-config-'
    sh(label: 'old reports', script: "rm -f ${reports}*.xml")
    List faults = []
    for (String name : environments) {
        faults.add(fault(['render-config', '--check', '--env', name],
            options + [junit: "${reports}${name}.xml".toString()]))
    }
    List strict = inputs.strict ? ['--strict'] : []
    faults.add(fault(['config', 'lint'] + strict + environments, options + [junit: "${reports}lint.xml".toString()]))
    junit(testResults: "${reports}*.xml", allowEmptyResults: true)
    faults.removeAll([null])
    if (faults) {
        throw faults[0]
    }
}

private StepFailed fault(List words, Map options) {
    try {
        crosscloud.perform(words, options)
        return null
    } catch (StepFailed found) {
        echo(found.message)
        return found
    }
}

private List namesOf(Map options) {
    List names = []
    for (Map environment : crosscloud.perform(['environments'], options).environments) {
        names.add(environment.name)
    }
    return names
}
