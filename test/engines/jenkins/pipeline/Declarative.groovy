// Declarative pipelines, interpreted in transformed code as the plugin Declarative does.

/** Reads `pipeline { … }` and runs it. */
void call(Closure body) {
    Map model = read(body, ['agent', 'options', 'environment', 'stages', 'post'])
    Throwable fault = null
    try {
        withOptions(model) {
            onAgent(model.agent) {
                withVariables(model.environment) { runStages(model.stages) }
            }
        }
    } catch (Throwable error) {
        fault = error
        currentBuild.result = error instanceof FlowInterruptedException ? error.result : 'FAILURE'
    }
    if (model.post != null) {
        Map post = read(model.post[0], ['always', 'success', 'failure', 'unsuccessful', 'cleanup'])
        for (String when : ['always', fault == null ? 'success' : 'unsuccessful', fault == null ? '' : 'failure', 'cleanup']) {
            if (post[when] != null) post[when][0].call()
        }
    }
    if (fault != null) throw fault
}

private void runStages(List given) {
    List stages = readAll(given[0], ['stage'])
    for (List said : stages) {
        // "Restart from Stage": what came before is not run again, and its variables are gone.
        if (!isBeforeRestart(said[1])) runStage(said[1], said[2])
    }
}

private void runStage(String name, Closure body) {
    Map model = read(body, ['agent', 'when', 'options', 'environment', 'steps', 'stages', 'post'])
    if (model.when != null && !wanted(model.when[0])) return
    stage(name) {
        withOptions(model) {
            onAgent(model.agent) {
                withVariables(model.environment) {
                    if (model.steps != null) model.steps[0].call()
                    if (model.stages != null) runStages(model.stages)
                }
            }
        }
        if (model.post != null) read(model.post[0], ['always']).always[0].call()
    }
}

private boolean wanted(Closure body) {
    for (List said : readAll(body, ['branch', 'changeRequest', 'expression', 'not', 'beforeAgent'])) {
        if (said[0] == 'branch' && env.BRANCH_NAME != said[1]) return false
        if (said[0] == 'changeRequest' && env.CHANGE_ID == null) return false
        if (said[0] == 'expression' && !said[1].call()) return false
        if (said[0] == 'not' && wanted(said[1])) return false
    }
    return true
}

private void withOptions(Map model, Closure work) {
    Map limit = null
    if (model.options != null) {
        List all = readAll(model.options[0], ['timeout', 'disableConcurrentBuilds', 'buildDiscarder', 'skipDefaultCheckout', 'logRotator'])
        properties(all)
        for (List said : all) if (said[0] == 'timeout') limit = said[1]
    }
    if (limit == null) work.call() else timeout(limit) { work.call() }
}

private void withVariables(List given, Closure work) {
    if (given == null) { work.call(); return }
    List lines = []
    List secrets = []
    for (List said : readAll(given[0], ['credentials'])) {
        if (said[0] != '=') continue
        if (said[2] instanceof Map) secrets.add([credentialsId: said[2].id, variable: said[1]])
        else lines.add("${said[1]}=${said[2]}".toString())
    }
    withCredentials(secrets) { withEnv(lines) { work.call() } }
}

private void onAgent(List given, Closure work) {
    if (given == null || given[0] == 'none') { work.call(); return }
    if (given[0] == 'any') { node('') { checkout(scm); work.call() }; return }
    Map agent = read(given[0], ['label', 'docker', 'kubernetes'])
    Map container = agent.docker == null ? [:] : agent.docker[0] instanceof Closure
        ? read(agent.docker[0], ['image', 'label', 'args']) : [image: [agent.docker[0]]]
    String label = (agent.label ?: container.label ?: [''])[0]
    node(label) {
        checkout(scm)
        if (container.image == null) work.call()
        else docker.image(container.image[0]).inside { work.call() }
    }
}

/** Each word that a block says once → its arguments. */
private Map read(Closure body, List words) {
    Map model = [:]
    for (List said : readAll(body, words)) model[said[0]] = said.subList(1, said.size()) as ArrayList
    return model
}

private List readAll(Closure body, List words) {
    Words block = new Words(words)
    body.delegate = block
    body.resolveStrategy = Closure.DELEGATE_FIRST
    body.call()
    // Steps know only the script, not the words around them.
    body.delegate = body.thisObject
    body.resolveStrategy = Closure.OWNER_FIRST
    return block.said
}
