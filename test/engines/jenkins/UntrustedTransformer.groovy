import com.cloudbees.groovy.cps.CpsTransformer
import com.cloudbees.groovy.cps.sandbox.Untrusted
import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.classgen.GeneratorContext
import org.codehaus.groovy.control.SourceUnit
import org.kohsuke.groovy.sandbox.SandboxTransformer

/**
 * The transformation of what Jenkins does not trust: every call is asked about first, in transformed
 * code by its invoker, in the rest by groovy-sandbox. groovy-cps has such a class; it needs a newer
 * groovy-sandbox than Maven Central keeps.
 */
class UntrustedTransformer extends CpsTransformer {
    private SourceUnit source

    @Override
    void call(SourceUnit source, GeneratorContext context, ClassNode node) {
        this.source = source
        super.call(source, context, node)
    }

    @Override
    protected void visitNontransformedMethod(MethodNode method) {
        new SandboxTransformer().createVisitor(source, classNode).visitMethod(method)
    }

    @Override
    protected void processConstructors(ClassNode node) {
        def sandbox = new SandboxTransformer()
        sandbox.processConstructors(sandbox.createVisitor(source, node), node)
    }

    @Override
    protected Class getTrustTag() { Untrusted }
}
