package com.example.webapi;

/** Values are data: they are escaped before they reach a page. */
public final class Html {

    private Html() {}

    public static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                .replace("\"", "&quot;").replace("'", "&#39;");
    }
}
