/** What may be said inside a block of a declarative pipeline; anything else is asked of what is around. */
class Words {
    private final Map<String, Closure> words

    Words(Map words) { this.words = words }

    def methodMissing(String name, Object args) {
        def word = words.get(name)
        if (word == null) throw new MissingMethodException(name, Words, args as Object[])
        return word.call(*(args as Object[]))
    }

    /** Reads a block. */
    static void read(Closure block, Map words) {
        block.delegate = new Words(words)
        block.resolveStrategy = Closure.DELEGATE_FIRST
        block()
    }
}
