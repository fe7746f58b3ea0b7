import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Counts each POST by its id, in a file that outlives the container; and knows who logged in. */
public class Orders extends HttpServlet {
    private String release;
    private FileChannel executed;

    @Override
    public void init() {
        try (InputStream in = getServletContext().getResourceAsStream("/WEB-INF/release")) {
            release = new String(in.readAllBytes(), StandardCharsets.UTF_8);
            Path file = Path.of("/counts", InetAddress.getLocalHost().getHostName());
            executed = FileChannel.open(
                file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response)
            throws IOException {
        if (request.getServletPath().equals("/login")) {
            request.getSession().setAttribute("visits", 0);
        } else {
            String line = request.getParameter("id") + "\n";
            executed.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.US_ASCII)));
        }
        answer(request, response, release);
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response)
            throws IOException {
        if (!request.getServletPath().equals("/me")) {
            answer(request, response, release);
            return;
        }
        HttpSession session = request.getSession(false);
        if (session == null || session.getAttribute("visits") == null) {
            response.setStatus(401);
            return;
        }
        int visits = (Integer) session.getAttribute("visits") + 1;
        session.setAttribute("visits", visits);
        answer(request, response, String.valueOf(visits));
    }

    private void answer(HttpServletRequest request, HttpServletResponse response, String text)
            throws IOException {
        String wanted = request.getParameter("ms");
        try {
            if (wanted != null) Thread.sleep(Long.parseLong(wanted));
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        response.setContentType("text/plain");
        response.getWriter().print(text);
    }
}
