<%@ page contentType="text/html;charset=UTF-8" pageEncoding="UTF-8" session="false" trimDirectiveWhitespaces="true"
         import="com.example.webapi.Application, com.example.webapi.Html, com.example.webapi.Settings" %>
<%
    response.setHeader("Cache-Control", "no-store");
    Application app = (Application) application.getAttribute("application");
    Settings settings = (Settings) application.getAttribute("settings");
    if (settings == null) response.setStatus(503);
%>
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="UTF-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title><%= Html.escape(app.toString()) %></title>
  <style>
    body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; color: #1b1f24; }
    dt { color: #57606a; } dd { margin: 0 0 .75rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
  </style>
</head>
<body>
<% if (settings == null) { %>
  <h1>Not ready</h1>
  <p><%= Html.escape(String.valueOf(application.getAttribute("fault"))) %></p>
<% } else { %>
  <h1><%= Html.escape(settings.get("greeting")) %></h1>
  <dl>
    <dt>Application</dt><dd id="application"><%= Html.escape(app.toString()) %></dd>
    <dt>Environment</dt><dd id="environment"><%= Html.escape(settings.get("environment")) %></dd>
    <dt>Database</dt><dd id="db-url"><%= Html.escape(settings.get("db.url")) %></dd>
    <dt>Connections</dt><dd id="db-pool"><%= Html.escape(settings.get("db.pool")) %></dd>
    <dt>Read from</dt><dd id="file"><%= Html.escape(settings.file().toString()) %></dd>
  </dl>
<% } %>
</body>
</html>
