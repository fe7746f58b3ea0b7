package io.crosscloud

/** What a step throws that failed. A pipeline may catch it and look at its fields. */
class StepFailed extends Exception {
    /** 2: bad input; 75: it may work later; 1: anything else. */
    final int exitCode
    /** crosscloud's own word for it, such as GATE_CLOSED; empty where it could not say one. */
    final String code
    /** What to do next; may be empty. */
    final String hint

    StepFailed(String message, int exitCode, String code, String hint) {
        super(message)
        this.exitCode = exitCode
        this.code = code
        this.hint = hint
    }
}
