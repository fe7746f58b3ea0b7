package com.example.webapi;

import jakarta.servlet.ServletContext;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** {@code GET /info}: what runs here and which values it was given, as one JSON object. */
@WebServlet("/info")
public class InfoServlet extends HttpServlet {

    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        ServletContext context = getServletContext();
        Application application = (Application) context.getAttribute(Startup.APPLICATION);
        Settings settings = (Settings) context.getAttribute(Startup.SETTINGS);
        Map<String, Object> info = new LinkedHashMap<>();
        info.put("application", application.name());
        info.put("version", application.version());
        info.put("file", Settings.location().toString());
        info.put("values", settings == null ? Map.of() : new TreeMap<>(settings.values()));
        response.setStatus(settings == null
                ? HttpServletResponse.SC_SERVICE_UNAVAILABLE : HttpServletResponse.SC_OK);
        response.setContentType("application/json;charset=UTF-8");
        response.setHeader("Cache-Control", "no-store");
        response.getWriter().println(json(info));
    }

    private static String json(Object value) {
        if (value instanceof Map<?, ?> map) {
            return map.entrySet().stream()
                    .map(entry -> json(entry.getKey()) + ":" + json(entry.getValue()))
                    .collect(Collectors.joining(",", "{", "}"));
        }
        return '"' + value.toString().codePoints()
                .mapToObj(c -> c == '"' || c == '\\' ? "\\" + (char) c
                        : c < ' ' ? String.format("\\u%04x", c)
                        : Character.toString(c))
                .collect(Collectors.joining()) + '"';
    }
}
