import com.cloudbees.groovy.cps.Continuable

/** All that Jenkins keeps of a running build. It must survive a restart, so it is written and read at every step. */
class State implements Serializable {
    /** The script, and each body of a step that runs: the innermost last. */
    List<Frame> frames = []
    /** The library's variables by name. */
    Map<String, Script> library = [:]
    /** What `env.NAME = …` set. */
    Map<String, String> assigned = [:]
    Map<String, Object> currentBuild = [number: 1, result: null, description: null]
    /** What the innermost program waits for. */
    Request request
}

/** A body that runs, and what holds inside it. */
class Frame implements Serializable {
    String step
    Continuable program
    /** Variables of withEnv and credentials. */
    Map<String, String> variables = [:]
    /** A node's label; null: as around it. */
    String node
    /** The image of the container that shells run in; null: as around it. */
    String image
    String folder
    /** Whether an error in it is passed on. */
    boolean catches
}

/** A step that the program asked for. */
class Request implements Serializable {
    String name
    List arguments
}

/** The pipeline's `env`: what Groovy knows of variables, which is less than what a shell gets. */
class Env implements Serializable {
    Object getProperty(String name) { Engine.current.known()[name] }
    void setProperty(String name, Object value) {
        Engine.current.state.assigned[name] = value == null ? '' : value.toString()
    }
}

/** The plugin Docker Pipeline's `docker`. */
class Docker implements Serializable {
    Image image(String name) { new Image(name: name) }
}

class Image implements Serializable {
    String name
    Object inside(String args = '', Closure body) {
        Continuable.suspend('inside', new Request(name: 'insideImage', arguments: [name, body]))
    }
}

/** What a build ends with that was stopped: by a person, a timeout, or a newer build. */
class FlowInterruptedException extends RuntimeException {
    String result
    FlowInterruptedException(String result, String message) {
        super(message)
        this.result = result
    }
}

class AbortException extends IOException {
    AbortException(String message) { super(message) }
}
