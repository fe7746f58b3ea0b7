// Written by hand; crosscloudGate.txt is its help.

/**
 * Waits, without an agent, until somebody lets a release into an environment.
 *
 * @return submitter: who it was; reason: a text for the ledger that names them and says why
 */
Map call(Object... given) {
    List known = ['release', 'env', 'submitter', 'hours', 'note']
    Map inputs = crosscloud.named('crosscloudGate', known, given)
    if (!inputs.release || !inputs.env) {
        error('crosscloudGate needs release and env')
    }
    String hours = inputs.hours ?: '72'
    if (!hours.matches('[1-9][0-9]{0,4}')) {
        error("crosscloudGate: hours is ${hours}; give a whole number above 0")
    }
    Object submitter = inputs.submitter ?: ''
    String people = submitter instanceof List ? submitter.join(',') : submitter
    String note = inputs.note ? "\n${inputs.note}" : ''
    Map answer = [:]
    timeout(time: Integer.parseInt(hours), unit: 'HOURS') {
        while (!answer.reason) {
            Object said = input(
                message: "Let ${inputs.release} into ${inputs.env}?${note}",
                ok: 'Let it through',
                submitter: people,
                submitterParameter: 'submitter',
                parameters: [string(name: 'reason', defaultValue: '', trim: true,
                    description: 'Why; it is written into the ledger')]
            )
            answer = told(said)
            note = '\nSay why, please.'
        }
    }
    echo("${answer.submitter} let ${inputs.release} into ${inputs.env}: ${answer.reason}")
    return [
        submitter: answer.submitter,
        reason: "let through by ${answer.submitter}: ${answer.reason}".toString()
    ]
}

/** Who proceeds by REST without parameters tells neither a name nor a reason, and is asked again. */
private Map told(Object said) {
    if (!(said instanceof Map) || !said.submitter) {
        return [:]
    }
    return [submitter: said.submitter.toString(), reason: (said.reason ?: '').toString().trim()]
}
