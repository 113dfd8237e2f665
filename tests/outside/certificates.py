"""A certificate authority of the tests' own, and what it has signed.

A test module imports the fixture:

    from certificates import certificates  # noqa: F401
"""

import subprocess

import pytest


def openssl(*args, **kwargs):
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=30, **kwargs)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A directory with ca.pem, and NAME.pem and NAME.key of NAME good, elsewhere,
    expired; and other.pem, an authority that has signed nothing."""
    directory = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA",
            "-addext", "basicConstraints=critical,CA:TRUE", cwd=directory)
    openssl("req", "-x509", *key, "-keyout", "other.key", "-out", "other.pem",
            "-subj", "/CN=Other CA", cwd=directory)
    for name, alt, days in [("good", "DNS:localhost,IP:127.0.0.1", "2"),
                            ("elsewhere", "DNS:elsewhere.example", "2"),
                            ("expired", "DNS:localhost,IP:127.0.0.1", "-1")]:
        (directory / "ext").write_text(f"subjectAltName={alt}\n")
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}", cwd=directory)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", days, "-extfile", "ext",
                cwd=directory)
    return directory
