"""Checks the output of `sallyport audit prove` with sigstore-python alone: its Merkle inclusion and its checkpoint code.

    sigstore_check.py PROOFS.jsonl VERIFIER-KEY-FILE      exit code 0 accepted, 1 rejected
"""

import base64
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import verify_checkpoint
from sigstore._internal.trust import Keyring, RekorKeyring
from sigstore.models import TransparencyLogEntry
from sigstore_models.common.v1 import LogId, PublicKey, PublicKeyDetails
from sigstore_models.rekor.v1 import Checkpoint, InclusionProof, KindVersion
from sigstore_models.rekor.v1 import TransparencyLogEntry as Entry


def main(proofs, key_file):
    _name, key_hash, key = Path(key_file).read_text().strip().split("+", 2)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    keyring = RekorKeyring(Keyring([PublicKey(raw_bytes=b64(der), key_details=PublicKeyDetails.PKIX_ED25519)]))
    checked = 0
    for line in Path(proofs).read_text().splitlines():
        entry = transparency_log_entry(json.loads(line), bytes.fromhex(key_hash))
        verify_merkle_inclusion(entry)
        verify_checkpoint(keyring, entry)
        checked += 1
    assert checked, "there is no proof in the file"
    print(f"ACCEPTED: {checked} records")


def transparency_log_entry(proof, key_hash):
    return TransparencyLogEntry(
        Entry(
            log_index=str(proof["index"]),
            # A signed note names its key by four bytes.
            log_id=LogId(key_id=b64(key_hash)),
            kind_version=KindVersion(kind="sallyport", version="1"),
            canonicalized_body=b64(proof["leaf"].encode()),
            inclusion_proof=InclusionProof(
                log_index=str(proof["index"]),
                tree_size=str(proof["tree_size"]),
                root_hash=b64(bytes.fromhex(proof["root"])),
                hashes=[b64(bytes.fromhex(node)) for node in proof["hashes"]],
                checkpoint=Checkpoint(envelope=proof["checkpoint"]),
            ),
        )
    )


def b64(data):
    return base64.b64encode(data)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        print(f"REJECTED: {type(error).__name__}: {error}")
        sys.exit(1)
