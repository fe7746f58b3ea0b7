// Written by hand; crosscloudPipeline.txt is its help.
import com.cloudbees.groovy.cps.NonCPS
import io.crosscloud.StepFailed

/** The whole road: build, test, and through gates from environment to environment. */
void call(Object... given) {
    Map options = settled(given)
    List rules = [buildDiscarder(logRotator(numToKeepStr: '50'))]
    if (env.CHANGE_ID) {
        // A newer push to the change request is what counts. Not so on the branch that is delivered:
        // a build that waits at a gate must not keep the next from being tested; see milestone below.
        rules.add(disableConcurrentBuilds(abortPrevious: true))
    }
    properties(rules)
    Map delivery = [:]
    onAgent(options) {
        Map source = checkout(scm)
        boolean delivered = !env.CHANGE_ID && isDelivered(options, source)
        // crosscloud.yml is read whole at each step: what it names must be bound, but for branches that
        // anybody may push to these are other bindings.
        withCredentials(delivered ? options.credentials : options.checkCredentials) {
            if (delivered) {
                delivery = build(options)
            } else {
                stage('Build') { crosscloudBuildWar(options.common) }
                if (env.CHANGE_ID) {
                    stage('Config check') { crosscloudConfigCheck(options.common + [strict: options.strict]) }
                }
            }
        }
    }
    if (delivery.release) {
        promote(options, delivery)
    }
}

private Map settled(Object[] given) {
    Map named = given.length == 1 && given[0] instanceof Map ? [:] + (Map) given[0] : [:]
    Map structured = [:]
    for (String name : ['gates', 'credentials', 'checkCredentials']) {
        structured[name] = named.remove(name)
    }
    List known = ['agent', 'image', 'branch', 'hours', 'lockWait', 'strict', 'settings',
        'gates', 'credentials', 'checkCredentials']
    Map texts = crosscloud.named('crosscloudPipeline', known, given.length == 1 && given[0] instanceof Map ? [named] as Object[] : given)
    return [
        agent: texts.agent ?: 'crosscloud',
        image: texts.image,
        branch: texts.branch ?: 'main',
        hours: texts.hours ?: '72',
        lockWait: texts.lockWait ?: '10m',
        strict: texts.strict ?: false,
        common: texts.settings ? [settings: texts.settings] : [:],
        gates: structured.gates == null ? [:] : structured.gates,
        credentials: structured.credentials ?: [],
        checkCredentials: structured.checkCredentials ?: [],
    ]
}

private void onAgent(Map options, Closure work) {
    node(options.agent) {
        if (options.image) {
            docker.image(options.image).inside { work.call() }
        } else {
            work.call()
        }
    }
}

/** A job that is not multibranch has no BRANCH_NAME; what was checked out tells then. */
private boolean isDelivered(Map options, Map source) {
    if (env.BRANCH_NAME) {
        return env.BRANCH_NAME == options.branch
    }
    String branch = (source.GIT_BRANCH ?: '').replaceFirst('^[^/]+/', '')
    if (branch != options.branch) {
        error("this job built ${branch ?: 'no branch that Jenkins can name'}, and crosscloudPipeline " +
            "delivers ${options.branch}: make it a multibranch Pipeline, or set branch: '${branch}'")
    }
    return true
}

/** A name that is none would leave its gate to anybody; empty: all of them are right. */
@NonCPS
private String gateFault(Object gates, List environments) {
    if (!(gates instanceof Map)) {
        return "gates is no map; write gates: [staging: 'testers'], an environment and who may answer"
    }
    List names = environments.collect { it.name }
    List faults = []
    gates.each { key, who ->
        String name = key.toString()
        if (!names.contains(name)) {
            faults.add("there is no environment ${name} in crosscloud.yml; known: ${names.join(', ')}".toString())
        } else if (name == names[0]) {
            faults.add("${name} has no gate, a push goes there: take it out of gates".toString())
        } else if (who != false && !who) {
            faults.add("gates names nobody for ${name}: name users or groups, or leave it out for anybody".toString())
        }
    }
    return faults.join('; ')
}

/** From the sources to the first environment. */
private Map build(Map options) {
    Map delivery = [:]
    stage('Build') {
        delivery = crosscloud.perform(['environments'], options.common)
        if (!delivery.environments) {
            error('crosscloud.yml names no environment: write environments: { test: … }')
        }
        String fault = gateFault(options.gates, delivery.environments)
        if (fault) {
            error("crosscloudPipeline: ${fault}")
        }
        Map built = crosscloudBuildWar(options.common)
        Map baked = crosscloudBakeImage(options.common + [version: 'next', war: built.war] +
            (built.commit ? [commit: built.commit] : [:]))
        delivery.release = crosscloudPushImage(options.common +
            [imageFolder: baked.imageFolder, env: delivery.environments[0].name]).release
        currentBuild.description = delivery.release
    }
    String first = delivery.environments[0].name
    stage(first) {
        // An older build that comes later is stopped here, and at every milestone after a gate.
        milestone(10)
        crosscloudDeploy(options.common + [release: delivery.release, env: first, lockWait: options.lockWait])
        crosscloudVerifyMd5(options.common + [release: delivery.release, env: first])
        crosscloudStatus(options.common)
    }
    return delivery
}

private void promote(Map options, Map delivery) {
    for (int index = 1; index < delivery.environments.size(); index++) {
        Map environment = delivery.environments[index]
        Map place = [release: delivery.release, environment: environment, milestone: 10 * (index + 1)]
        if (options.gates[environment.name] == false) {
            onAgent(options) { bring(options, place, [:]) }
        } else {
            passGate(options, place)
        }
    }
}

/** Asks until the gate is open: crosscloud's own may want several people. */
private void passGate(Map options, Map place) {
    String name = place.environment.name
    String note = ''
    boolean through = false
    while (!through) {
        Map gate = [:]
        stage("Gate to ${name}") {
            gate = crosscloudGate([release: place.release, env: name, hours: options.hours, note: note,
                submitter: options.gates[name] ?: ''])
        }
        onAgent(options) {
            note = bring(options, place, gate)
            through = !note
        }
    }
}

/** Promotes, where crosscloud's own gate is open; else answers what keeps it closed. */
private String bring(Map options, Map place, Map gate) {
    String name = place.environment.name
    String closed = ''
    checkout(scm)
    withCredentials(options.credentials) {
        closed = place.environment.gated && gate ? missing(options, place, gate) : ''
        if (!closed) {
            stage(name) {
                milestone(place.milestone)
                crosscloudPromote(options.common + [release: place.release, to: name, lockWait: options.lockWait] +
                    (gate ? [reason: gate.reason, by: gate.submitter] : [:]))
                crosscloudStatus(options.common)
            }
        }
    }
    return closed
}

/** What keeps crosscloud's own gate closed after this person's word; empty: nothing. */
private String missing(Map options, Map place, Map gate) {
    try {
        Map said = crosscloudApprove(options.common + [release: place.release, env: place.environment.name,
            reason: gate.reason, by: gate.submitter])
        return said.open ? '' : said.missing.join('\n')
    } catch (StepFailed fault) {
        if (fault.code != 'GATE_CLOSED') {
            throw fault
        }
        return fault.message
    }
}
