/** As in Jenkins: a name that is no method is a variable of the library, or a step of the pipeline. */
abstract class StubScript extends Script {
    def invokeMethod(String name, Object args) {
        Object[] given = args instanceof Object[] ? args : [args] as Object[]
        if (metaClass.respondsTo(this, name, given)) {
            return metaClass.invokeMethod(this, name, given)
        }
        return binding.getVariable('jenkins').perform(name, given)
    }
}
