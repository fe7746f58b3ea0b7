package com.example.webapi;

import jakarta.servlet.ServletContext;
import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.annotation.WebListener;
import java.io.IOException;

/**
 * Reads the settings once, when the application starts. Without them the application stays up and
 * says why at /healthz, so that the deployment fails with a reason instead of a timeout.
 */
@WebListener
public class Startup implements ServletContextListener {

    static final String APPLICATION = "application";
    static final String SETTINGS = "settings";
    static final String FAULT = "fault";

    @Override
    public void contextInitialized(ServletContextEvent event) {
        ServletContext context = event.getServletContext();
        Application application = Application.of(context);
        context.setAttribute(APPLICATION, application);
        try {
            Settings settings = Settings.read(Settings.location());
            context.setAttribute(SETTINGS, settings);
            context.log(application + ": settings of " + settings.get("environment") + " read from " + settings.file());
        } catch (IOException e) {
            // The message of a missing file is its path alone.
            String fault = "cannot read the settings: " + e;
            context.setAttribute(FAULT, fault);
            context.log(application + ": " + fault);
        }
    }
}
