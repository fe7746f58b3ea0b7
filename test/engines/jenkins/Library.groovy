import java.lang.annotation.ElementType
import java.lang.annotation.Target

/** Jenkins' annotation that loads a shared library. */
@Target([ElementType.LOCAL_VARIABLE, ElementType.FIELD])
@interface Library {
    String[] value()
}
