"""Makes the model, the keys, the certificates and the signatures that main.rs reads.

    python3 -m venv /tmp/signing
    /tmp/signing/bin/pip install model-signing==VERSION pyopenssl     # the version in VERSION, beside this file
    /tmp/signing/bin/python make.py

The signatures are made by the `model_signing` program itself, but for two that it does not make: one over a statement
with another predicate, and one in the form of a keyless one. All is for tests alone: the private keys are thrown away,
and a certificate that is valid is so for a hundred years.
"""

import base64
import datetime
import hashlib
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import model_signing

HERE = pathlib.Path(__file__).parent
MODEL = HERE / "model"
SECRETS = pathlib.Path(tempfile.mkdtemp())
TYPE = "application/vnd.in-toto+json"
START = datetime.datetime(2020, 1, 1)
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


def folder(name):
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def make_model():
    folder("model")
    files = {
        "config.json": b'{"layers": 2}\n',
        "weights.bin": bytes(range(200)),
        "deep/tokenizer.txt": b"a\nb\n",
        "empty": b"",
        ".github/notes.md": b"Not signed: OMS leaves it out.\n",
    }
    for name, content in files.items():
        path = MODEL / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def key(name, curve):
    secret = ec.generate_private_key(CURVES[curve])
    path = SECRETS / name
    path.write_bytes(secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return secret, path


def write_public(secret, path):
    path.write_bytes(secret.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def certificate(subject, secret, issuer, *, years=100, ca=False, usage="sign", purpose=ExtendedKeyUsageOID.CODE_SIGNING):
    """A certificate by an issuer: (its certificate or None for itself, its key)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    above, above_secret = issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above.subject if above else name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + datetime.timedelta(days=365 * years))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(
            digital_signature=usage == "sign" and not ca, key_encipherment=usage == "encrypt", key_cert_sign=ca, crl_sign=ca,
            content_commitment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        ), critical=True)
    )
    if purpose and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(above_secret, HASHES[above_secret.curve.key_size])


def pem(*certificates):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def sign(*arguments):
    subprocess.run([sys.executable, "-m", "model_signing", "sign", *map(str, arguments)], check=True)


def main():
    make_model()
    (HERE / "VERSION").write_text(importlib.metadata.version("model-signing") + "\n")
    keys, certificates, signatures = folder("keys"), folder("certificates"), folder("signatures")

    for curve in CURVES:
        secret, path = key(curve, curve)
        write_public(secret, keys / f"{curve}.pub")
        sign("key", MODEL, "--private_key", path, "--signature", signatures / f"key-{curve}.sig")
    other, _ = key("other", "p256")
    write_public(other, keys / "other.pub")

    (
        model_signing.signing.Config()
        .use_elliptic_key_signer(private_key=SECRETS / "p256")
        .set_hashing_config(model_signing.hashing.Config().use_shard_serialization(shard_size=64))
        .sign(MODEL, signatures / "shards.sig")
    )

    root_secret, _ = key("root", "p521")
    root = certificate("Test root", root_secret, (None, root_secret), ca=True)
    middle_secret, _ = key("middle", "p384")
    middle = certificate("Test authority", middle_secret, (root, root_secret), ca=True)
    (certificates / "root.pem").write_bytes(pem(root))
    (certificates / "middle.pem").write_bytes(pem(middle))
    other_root_secret, _ = key("other-root", "p256")
    other_root = certificate("Test root", other_root_secret, (None, other_root_secret), ca=True)
    (certificates / "other-root.pem").write_bytes(pem(other_root))
    old_secret, _ = key("old-root", "p256")
    (certificates / "expired-root.pem").write_bytes(
        pem(certificate("Test root", old_secret, (None, old_secret), ca=True, years=1)))

    (SECRETS / "middle.pem").write_bytes(pem(middle))
    for name, options in {
        "certificate": {},
        "expired": {"years": 1},
        "encrypting": {"usage": "encrypt", "purpose": None},
        "server": {"purpose": ExtendedKeyUsageOID.SERVER_AUTH},
    }.items():
        secret, path = key(name, "p256")
        (SECRETS / "own.pem").write_bytes(pem(certificate(f"Test {name}", secret, (middle, middle_secret), **options)))
        sign("certificate", MODEL, "--private_key", path, "--signing_certificate", SECRETS / "own.pem",
             "--certificate_chain", SECRETS / "middle.pem", "--signature", signatures / f"{name}.sig")

    # What model_signing does not make.
    secret = serialization.load_pem_private_key((SECRETS / "p256").read_bytes(), None)
    bundle = json.loads((signatures / "key-p256.sig").read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicateType"] = "https://slsa.dev/provenance/v1"
    payload = json.dumps(statement).encode()
    signed = f"DSSEv1 {len(TYPE)} {TYPE} {len(payload)} ".encode() + payload
    signature = secret.sign(signed, ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    (signatures / "predicate.sig").write_text(json.dumps(bundle))

    bundle = json.loads((signatures / "certificate.sig").read_text())
    own = bundle["verificationMaterial"].pop("x509CertificateChain")["certificates"][0]
    log_id = base64.b64encode(hashlib.sha256(b"a log of no one's").digest()).decode()
    bundle["verificationMaterial"] |= {"certificate": own, "tlogEntries": [{"logIndex": "1", "logId": {"keyId": log_id}}]}
    (signatures / "keyless.sig").write_text(json.dumps(bundle))
    shutil.rmtree(SECRETS)


main()
