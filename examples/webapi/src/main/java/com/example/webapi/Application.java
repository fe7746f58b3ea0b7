package com.example.webapi;

import jakarta.servlet.ServletContext;
import java.io.IOException;
import java.io.InputStream;
import java.util.jar.Attributes;
import java.util.jar.Manifest;

/** Which build this is, as Maven wrote it into the WAR's own manifest. */
public record Application(String name, String version) {

    static Application of(ServletContext context) {
        try (InputStream in = context.getResourceAsStream("/META-INF/MANIFEST.MF")) {
            if (in == null) return new Application("webapi", "unknown");
            Attributes attributes = new Manifest(in).getMainAttributes();
            return new Application(
                    value(attributes, Attributes.Name.IMPLEMENTATION_TITLE, "webapi"),
                    value(attributes, Attributes.Name.IMPLEMENTATION_VERSION, "unknown"));
        } catch (IOException e) {
            return new Application("webapi", "unknown");
        }
    }

    private static String value(Attributes attributes, Attributes.Name name, String fallback) {
        String value = attributes.getValue(name);
        return value == null || value.isBlank() ? fallback : value;
    }

    @Override
    public String toString() {
        return name + " " + version;
    }
}
