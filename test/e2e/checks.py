"""What the end-to-end tests in Python share: counted checks and the HTTPS servers that stand for webhooks."""
import http.server
import ssl

passed = failed = 0


def ok(name, condition, shown=""):
    global passed, failed
    passed += bool(condition)
    failed += not condition
    print("  %s  %s%s" % ("ok  " if condition else "FAIL", name, "" if condition else ": %.2000r" % (shown,)), flush=True)


def finish(prefix=""):
    """The closing line; the exit code."""
    print("%s%d passed, %d failed" % (prefix, passed, failed))
    return failed != 0


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # Callers that do not trust us, or hang up.


def serve(handler, certificate, key):
    """Serves for ever on a port of loopback that the kernel picks, and prints the port."""
    server = Server(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_port, flush=True)
    server.serve_forever()
