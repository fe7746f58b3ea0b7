package com.example.webapi;

import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;

/**
 * What differs between environments. The WAR and the image know none of it: the file is rendered
 * from the environment's config centre and placed in the container before its first start.
 */
public record Settings(Path file, Map<String, String> values) {

    private static final String DEFAULT_FILE = "/etc/webapi/webapi.properties";

    /** Where the file is: WEBAPI_PROPERTIES in the environment, else the path its template names. */
    static Path location() {
        String named = System.getenv("WEBAPI_PROPERTIES");
        return Path.of(named == null || named.isBlank() ? DEFAULT_FILE : named);
    }

    /** @throws IOException when the file cannot be read, or lacks a value the application needs */
    static Settings read(Path file) throws IOException {
        Properties properties = new Properties();
        try (Reader reader = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
            properties.load(reader);
        } catch (IllegalArgumentException e) {
            throw new IOException(file + " is not a properties file: " + e.getMessage(), e);
        }
        Map<String, String> values = new TreeMap<>();
        for (String name : properties.stringPropertyNames()) values.put(name, properties.getProperty(name));
        for (String name : new String[] {"greeting", "environment", "db.url"}) {
            if (values.getOrDefault(name, "").isBlank()) throw new IOException(file + ": no value for " + name);
        }
        return new Settings(file, Map.copyOf(values));
    }

    public String get(String name) {
        return values.getOrDefault(name, "");
    }
}
