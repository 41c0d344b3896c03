"""Which authorities are trusted, with a real TLS server whose certificate an authority of our own signed: each layout of
a distribution made up in a mount namespace (needs root), the variables that others set, certifi."""

import http.server
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import textwrap
import threading

import pytest

import mlops

# Copies of what a program needs of /etc: neither certificates nor OpenSSL's settings.
ETC = ("hosts", "nsswitch.conf", "passwd", "group", "ld.so.cache", "localtime", "alternatives", "python3", "python3.11")
PACKAGE = pathlib.Path(mlops.__file__).parent.parent

SCRIPT = """
import sys, mlops
mlops.set_tracking_uri("mlops:" + sys.argv[1])
with mlops.start_run():
    mlops.log_metric("x", 1)
try:
    print("delivered", mlops.sync(sys.argv[2], timeout=20, progress=False))
except mlops.Error as error:
    print(type(error).__name__, error)
"""


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


class Answer(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):  # a client that hangs up on our certificate
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=an authority of the tests")
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1")
    openssl(folder, "x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-copy_extensions", "copy", "-out", "cert.pem")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-days", "2",
            "-subj", "/CN=another authority")
    made = Server(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    made.socket = context.wrap_socket(made.socket, server_side=True, do_handshake_on_connect=False)
    made.asked = []
    made.folder = folder
    made.uri = f"https://127.0.0.1:{made.server_address[1]}"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def can_mount():
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    if tried.returncode != 0:
        pytest.skip("no mount namespace: this needs root")


def trusted(server, tmp_path, layout=None, env=None, path=""):
    """-> (whether a request came through TLS, what was said). layout: {path below /etc or /var/lib: PEM file}, where
    nothing else of the machine's authorities is left; None: the machine as it is."""
    server.asked.clear()
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "root"), server.uri]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_", "SSL_", "CURL_", "REQUESTS_"))}
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, [path, str(PACKAGE), clean.get("PYTHONPATH", "")]))
    if layout is not None:
        made = tmp_path / "machine"
        (made / "etc").mkdir(parents=True)
        (made / "ca-certificates").mkdir()
        for name in ETC:
            source = pathlib.Path("/etc") / name
            if source.is_dir():
                shutil.copytree(source, made / "etc" / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, made / "etc" / name)
        for place, pem in layout.items():
            at = made / place.lstrip("/")
            at.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(pem, str):
                os.symlink(pem, at)
            else:
                shutil.copy(pem, at)
        command = ["unshare", "-m", "sh", "-c", textwrap.dedent("""
            made=$1; shift
            mount --bind "$made/etc" /etc
            [ ! -d /var/lib/ca-certificates ] || mount --bind "$made/ca-certificates" /var/lib/ca-certificates
            exec "$@" """), "sh", str(made), *command]
    done = subprocess.run(command, env={**clean, **(env or {})}, cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120)
    return bool(server.asked), done.stdout


@pytest.mark.parametrize("layout", ["debian", "rhel", "suse", "alpine"])
def test_each_distributions_place(server, tmp_path, can_mount, layout):
    pem = server.folder / "ca.pem"
    extracted = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
    places = {
        "debian": {"/etc/ssl/certs/ca-certificates.crt": pem},
        "rhel": {extracted: pem, "/etc/pki/tls/certs/ca-bundle.crt": extracted},
        "suse": {"/etc/ssl/ca-bundle.pem": pem},
        "alpine": {"/etc/ssl/cert.pem": pem},
    }
    came, said = trusted(server, tmp_path, places[layout])
    assert came, said


def test_an_authority_that_is_not_installed_is_not_trusted(server, tmp_path, can_mount):
    came, said = trusted(server, tmp_path, {"/etc/ssl/certs/ca-certificates.crt": server.folder / "other.pem"})
    assert not came
    assert "the server's TLS certificate was not accepted" in said and "MLFLOW_TRACKING_SERVER_CERT_PATH" in said, said
    assert "install ca-certificates" not in said


def test_a_machine_without_authorities_says_so(server, tmp_path, can_mount):
    came, said = trusted(server, tmp_path, {})
    assert not came
    assert "this machine has no CA bundle: install ca-certificates" in said, said


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_variable_names_the_bundle(server, tmp_path, variable):
    came, said = trusted(server, tmp_path, env={variable: str(server.folder / "ca.pem")})
    assert came, said


def test_requests_variable_may_name_a_folder(server, tmp_path):
    folder = tmp_path / "hashed"
    folder.mkdir()
    shutil.copy(server.folder / "ca.pem", folder)
    openssl(folder, "rehash", ".")
    came, said = trusted(server, tmp_path, env={"REQUESTS_CA_BUNDLE": str(folder)})
    assert came, said


def test_a_bundle_that_is_not_there_is_named(server, tmp_path):
    came, said = trusted(server, tmp_path, env={"REQUESTS_CA_BUNDLE": str(tmp_path / "gone.pem")})
    assert not came and "gone.pem" in said and "REQUESTS_CA_BUNDLE" in said, said


def test_certifi_serves_a_machine_without_authorities(server, tmp_path, can_mount):
    folder = tmp_path / "site" / "certifi"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('it is not imported')\n")
    shutil.copy(server.folder / "ca.pem", folder / "cacert.pem")
    came, said = trusted(server, tmp_path, {}, path=str(folder.parent))
    assert came, said


def test_certifi_comes_after_the_machines_own(server, tmp_path, can_mount):
    folder = tmp_path / "site" / "certifi"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    shutil.copy(server.folder / "ca.pem", folder / "cacert.pem")
    came, said = trusted(server, tmp_path, {"/etc/ssl/certs/ca-certificates.crt": server.folder / "other.pem"}, path=str(folder.parent))
    assert not came, said
