"""A fault proxy: stands in front of a real server and spoils chosen requests. Standard library only.

Requests are numbered from 0 in the order they arrive whole. `faults` maps a number to a Fault; `rule`, a function of the
Request, is asked for the others. Whatever happened to each request is in `log`. With tls=(cert, key) it speaks https, with
client_ca=FILE only to who shows a certificate of that authority.

    with FaultProxy(server.uri, {3: drop_response()}) as proxy:
        ... proxy.uri ...
        proxy.log[3].status   # what the server answered, though nobody heard it
"""

import dataclasses
import http.client
import pathlib
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse


@dataclasses.dataclass
class Fault:
    kind: str  # lose_request, drop_response, cut_response, delay, answer
    seconds: float = 0.0
    status: int = 0
    body: bytes = b""
    headers: tuple = ()


def lose_request():
    """The request arrives here, is not passed on, and the connection is reset: it was never executed."""
    return Fault("lose_request")


def drop_response():
    """The server executes it and answers; the client sees a reset."""
    return Fault("drop_response")


def cut_response():
    """The client gets the first half of the answer's bytes, then the connection ends."""
    return Fault("cut_response")


def delay(seconds):
    return Fault("delay", seconds=seconds)


def answer(status, body=b"", content_type="text/html", **headers):
    """The proxy answers by itself, as a gateway would. headers: Retry_After="2" and the like."""
    body = body.encode() if isinstance(body, str) else body
    named = tuple((k.replace("_", "-"), v) for k, v in headers.items())
    return Fault("answer", status=status, body=body, headers=(("Content-Type", content_type), *named))


@dataclasses.dataclass
class Request:
    index: int
    method: str
    path: str
    headers: dict  # names in lower case
    body: bytes
    time: float
    fault: str = ""
    status: int = 0  # of the real server; 0: it never saw the request

    @property
    def endpoint(self):
        """E.g. "POST runs/log-batch"."""
        return f"{self.method} {self.path.split('?')[0].split('/mlflow/')[-1]}"


class FaultProxy:
    def __init__(self, target, faults=None, rule=None, tls=None, port=0, client_ca=None):
        self.target = urllib.parse.urlsplit(target)
        self.faults = dict(faults or {})
        self.rule = rule
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*map(str, tls))
        if client_ca:
            self.tls.load_verify_locations(str(client_ca))
            self.tls.verify_mode = ssl.CERT_REQUIRED
        self.log = []
        self.lock = threading.Lock()
        self.stopping = False
        self.peers = set()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]

    @property
    def uri(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which would keep the port
        self.accepting.join(10)
        self.listener.close()
        with self.lock:
            peers = list(self.peers)
        for peer in peers:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def endpoints(self):
        return [r.endpoint for r in self.log]

    # -- one thread per connection -----------------------------------------------------------------------------------
    def _accept(self):
        while not self.stopping:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            if self.tls:
                peer = self.tls.wrap_socket(peer, server_side=True)
        except (ssl.SSLError, OSError):  # the client did not like our certificate
            peer.close()
            return
        with self.lock:
            self.peers.add(peer)
        try:
            reader = peer.makefile("rb")
            while not self.stopping:
                request = self._read(reader)
                if request is None or not self._handle(peer, request):
                    return
        except OSError:
            pass
        finally:
            with self.lock:
                self.peers.discard(peer)
            peer.close()

    def _read(self, reader):
        line = reader.readline(65537).decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = {}
        while True:
            text = reader.readline(65537).decode("latin-1").strip()
            if not text:
                break
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = reader.read(length)
        if len(body) != length:
            return None
        with self.lock:
            request = Request(len(self.log), line[0], line[1], headers, body, time.monotonic())
            self.log.append(request)
        return request

    def _handle(self, peer, request):
        """False: this connection is over."""
        fault = self.faults.get(request.index) or (self.rule(request) if self.rule else None) or Fault("")
        request.fault = fault.kind
        if fault.kind == "lose_request":
            return self._reset(peer)
        if fault.kind == "answer":
            peer.sendall(self._bytes(fault.status, fault.headers, fault.body))
            return True
        if fault.kind == "delay":
            time.sleep(fault.seconds)
        try:
            status, headers, body = self._forward(request)
        except OSError:  # the real server is away: as a gateway without a Retry-After
            peer.sendall(self._bytes(502, (("Content-Type", "text/html"),), b"<html>502 Bad Gateway</html>"))
            return True
        request.status = status
        if fault.kind == "drop_response":
            return self._reset(peer)
        whole = self._bytes(status, headers, body)
        if fault.kind == "cut_response":
            peer.sendall(whole[: len(whole) // 2])
            return False
        peer.sendall(whole)
        return True

    def _forward(self, request):
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=120)
        try:
            headers = {k: v for k, v in request.headers.items() if k not in ("host", "connection", "content-length")}
            connection.request(request.method, self.target.path + request.path, request.body or None, headers)
            got = connection.getresponse()
            body = got.read()
            kept = [(k, v) for k, v in got.getheaders()
                    if k.lower() not in ("connection", "content-length", "transfer-encoding", "keep-alive")]
            return got.status, kept, body
        except http.client.HTTPException as e:
            raise OSError(str(e)) from e
        finally:
            connection.close()

    @staticmethod
    def _bytes(status, headers, body):
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'X')}"]
        lines += [f"{k}: {v}" for k, v in headers]
        lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    @staticmethod
    def _reset(peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        return False


def make_certificate(folder, host="127.0.0.1"):
    """A self-signed certificate for an address: (certificate, key) as paths. Needs the openssl command."""
    folder = pathlib.Path(folder)
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert), "-days",
                    "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=IP:{host}"], check=True, capture_output=True)
    return cert, key
