/** What may be said inside a block of a declarative pipeline; anything else is asked of what is around it. */
class Words implements GroovyInterceptable, Serializable {
    private final List<String> words
    private final List<List> said = []

    Words(List words) { this.words = words }

    List getSaid() { said }

    def invokeMethod(String name, Object args) {
        if (name == 'getSaid') return said
        Object[] given = args as Object[]
        if (!words.contains(name)) throw new MissingMethodException(name, Words, given)
        // A value's word, such as credentials('x'), is no statement of its own.
        if (name == 'credentials') return [id: given[0]]
        if (name == 'logRotator') return given[0]
        said.add([name, *given])
        return null
    }

    Object getProperty(String name) {
        if (name == 'said') return said
        throw new MissingPropertyException(name, Words)
    }

    void setProperty(String name, Object value) {
        said.add(['=', name, value])
    }
}
