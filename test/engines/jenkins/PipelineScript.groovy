import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.SerializableScript

/** As in Jenkins: a name that is no method is a variable of the library, or a step. */
abstract class PipelineScript extends SerializableScript {
    Object invokeMethod(String name, Object args) {
        Object[] given = args instanceof Object[] ? args : [args] as Object[]
        if (getMetaClass().respondsTo(this, name, given)) return getMetaClass().invokeMethod(this, name, given)
        if (name == 'pipeline') name = 'Declarative'
        Script variable = Engine.current.state.library[name]
        if (variable != null) return variable.getMetaClass().invokeMethod(variable, 'call', given)
        return Continuable.suspend(name, new Request(name: name, arguments: given.toList()))
    }

    Object getProperty(String name) {
        Map globals = Engine.current.globals()
        return globals.containsKey(name) ? globals[name] : super.getProperty(name)
    }
}
