package com.example.webapi;

import jakarta.servlet.ServletContext;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** {@code GET /healthz}: 200 and {@code ok webapi 1.0.0} once the settings were read, else 503 and why. */
@WebServlet("/healthz")
public class HealthServlet extends HttpServlet {

    private static final long serialVersionUID = 1L;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        ServletContext context = getServletContext();
        boolean healthy = context.getAttribute(Startup.SETTINGS) != null;
        response.setStatus(healthy ? HttpServletResponse.SC_OK : HttpServletResponse.SC_SERVICE_UNAVAILABLE);
        response.setContentType("text/plain;charset=UTF-8");
        response.setHeader("Cache-Control", "no-store");
        Object application = context.getAttribute(Startup.APPLICATION);
        response.getWriter().println(healthy
                ? "ok " + application
                : "not ready: " + application + ": " + context.getAttribute(Startup.FAULT));
    }
}
