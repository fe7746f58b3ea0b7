import java.lang.reflect.Executable
import org.codehaus.groovy.runtime.ScriptBytecodeAdapter
import org.kohsuke.groovy.sandbox.GroovyInterceptor

/**
 * What an untrusted library may do without an administrator's approval: call itself and the steps,
 * and what is on the list of the plugin Script Security.
 */
class Sandbox extends GroovyInterceptor {
    private final Set<String> allowed
    /** What was refused, as the plugin writes it. */
    final List<String> refused = []

    Sandbox(File list) {
        allowed = list.readLines().findAll { it && !it.startsWith('#') } as Set
    }

    @Override
    Object onMethodCall(GroovyInterceptor.Invoker invoker, Object receiver, String method, Object... args) {
        if (!isOwn(receiver.getClass())) ask(methodsOf(receiver, method, args), "method ${receiver.getClass().name} $method")
        return super.onMethodCall(invoker, receiver, method, args)
    }

    @Override
    Object onStaticCall(GroovyInterceptor.Invoker invoker, Class receiver, String method, Object... args) {
        // What the compiler itself writes for casts and comparisons.
        boolean compiled = receiver == ScriptBytecodeAdapter
        if (!compiled && !isOwn(receiver)) ask(staticsOf(receiver, method, args), "staticMethod ${receiver.name} $method")
        return super.onStaticCall(invoker, receiver, method, args)
    }

    @Override
    Object onNewInstance(GroovyInterceptor.Invoker invoker, Class receiver, Object... args) {
        if (!isOwn(receiver)) ask(constructorsOf(receiver, args), "new ${receiver.name}")
        return super.onNewInstance(invoker, receiver, args)
    }

    @Override
    void onSuperConstructor(GroovyInterceptor.Invoker invoker, Class receiver, Object... args) {
        if (!isOwn(receiver)) ask(constructorsOf(receiver, args), "new ${receiver.name}")
        super.onSuperConstructor(invoker, receiver, args)
    }

    @Override
    Object onGetProperty(GroovyInterceptor.Invoker invoker, Object receiver, String property) {
        if (!(receiver instanceof Map) && !receiver.getClass().array && !isOwn(receiver.getClass())) {
            String getter = "get${property.capitalize()}"
            ask(methodsOf(receiver, getter, [] as Object[]), "method ${receiver.getClass().name} $getter")
        }
        return super.onGetProperty(invoker, receiver, property)
    }

    /** Scripts, classes and closures of the library and the pipeline, Jenkins' own globals; and numbers. */
    private static boolean isOwn(Class type) {
        // Arithmetic is always allowed.
        return GroovyObject.isAssignableFrom(type) || Number.isAssignableFrom(type)
    }

    private void ask(List<String> signatures, String otherwise) {
        if (signatures.any { allowed.contains(it) }) return
        String wanted = signatures ? signatures[0] : otherwise
        if (!refused.contains(wanted)) refused.add(wanted)
        throw new SecurityException("Scripts not permitted to use $wanted")
    }

    /** Java's methods of that name, in all the types it may be declared in; then Groovy's additions. */
    private static List<String> methodsOf(Object receiver, String name, Object[] args) {
        List<String> found = typesOf(receiver.getClass()).collectMany { type ->
            type.declaredMethods.findAll { it.name == name && fits(it, args) }.collect { "method ${signature(it, it.name)}".toString() }
        }
        return found + additions(name, [receiver, *args] as Object[])
    }

    private static List<String> staticsOf(Class type, String name, Object[] args) {
        return type.declaredMethods.findAll { it.name == name && fits(it, args) }
            .sort { one, other -> breadth(one) <=> breadth(other) }
            .take(1)
            .collect { "staticMethod ${signature(it, it.name)}".toString() }
    }

    private static List<String> constructorsOf(Class type, Object[] args) {
        return type.declaredConstructors.findAll { fits(it, args) }.collect { "new ${signature(it, '')}".toString() }
    }

    private static List<String> additions(String name, Object[] args) {
        return ['DefaultGroovyMethods', 'StringGroovyMethods', 'EncodingGroovyMethods'].collectMany { part ->
            Class.forName("org.codehaus.groovy.runtime.$part").methods
                .findAll { it.name == name && fits(it, args) }
                .collect { "staticMethod ${signature(it, it.name)}".toString() }
        }
    }

    /** Of overloads the narrowest is called: how many parameters are just Object. */
    private static int breadth(Executable one) { one.parameterTypes.count { it == Object } }

    private static boolean fits(Executable one, Object[] args) {
        Class[] types = one.parameterTypes
        if (one.varArgs && args.length >= types.length - 1) return true
        return types.length == args.length && (0..<types.length).every { index ->
            args[index] == null || org.codehaus.groovy.reflection.ReflectionCache
                .autoboxType(types[index]).isInstance(args[index]) || types[index].isInstance(args[index]) ||
                (types[index] == String && args[index] instanceof GString) ||
                (types[index] == int && args[index] instanceof Integer)
        }
    }

    private static String signature(Executable one, String name) {
        [one.declaringClass.name, name, *one.parameterTypes.collect { plainName(it) }].findAll().join(' ')
    }

    private static String plainName(Class type) {
        type.array ? "${plainName(type.componentType)}[]" : type.name
    }

    private static List<Class> typesOf(Class type) {
        if (type == null) return []
        return (typesOf(type.superclass) + type.interfaces.collectMany { typesOf(it) } + type).unique()
    }
}
