// Written by hand.

/**
 * Waits, without an agent, until somebody lets a release into an environment.
 *
 * @param given release and env; submitter: users and groups that may, separated by commas, anybody
 *   who may build the job when it is missing; hours: how long it waits, 72 by default
 * @return submitter: who it was; reason: a text for the ledger that names them and says why
 */
Map call(Map given) {
    List known = ['release', 'env', 'submitter', 'hours']
    List unknown = new ArrayList(given.keySet()) - known
    if (unknown) {
        error("crosscloudGate has no parameter ${unknown.join(', ')}. It knows: ${known.join(', ')}")
    }
    if (!given.release || !given.env) {
        error('crosscloudGate needs release and env')
    }
    String note = ''
    String submitter = ''
    String why = ''
    timeout(time: given.hours ?: 72, unit: 'HOURS') {
        while (!why) {
            Map answer = input(
                message: "Let ${given.release} into ${given.env}?${note}",
                ok: 'Let it through',
                submitter: given.submitter ?: '',
                submitterParameter: 'submitter',
                parameters: [string(name: 'reason', defaultValue: '', trim: true,
                    description: 'Why; it is written into the ledger')]
            )
            submitter = answer.submitter
            why = (answer.reason ?: '').trim()
            note = ' Say why, please.'
        }
    }
    echo("${submitter} let ${given.release} into ${given.env}: ${why}")
    return [submitter: submitter, reason: "let through by ${submitter}: ${why}".toString()]
}
