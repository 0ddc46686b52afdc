"""A bucket of Amazon S3, or of a server that speaks its protocol.

Small files go up in one request; large ones in parts, and an upload that was cut off is continued: parts that are there
are compared by their MD5, which is what S3 calls an ETag, and not sent again. The file shows only when all are there.
Each carries its sha256 in its metadata, which is how we know one without fetching it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pkgpanda.errors import PandaError
from release.layout import Entry
from release.storage.base import PART_SIZE, Stored, failed, pieces_of

_ABSENT = ("404", "NoSuchKey", "NotFound")
_TYPES = {".json": "application/json", ".sh": "text/x-shellscript", ".xz": "application/x-xz", ".latest": "text/plain"}
_INSTALL = "pip install --require-hashes -r requirements/release.txt"


class Bucket(NamedTuple):
    """Which bucket, how it is reached (empty: as AWS' own settings say), and what goes before every path."""

    name: str
    prefix: str = ""
    endpoint_url: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""


class S3Storage:
    """Files as objects of a bucket."""

    def __init__(self, name: str, bucket: Bucket, url: str = "", writable: bool = True) -> None:
        self.name = name
        self.url = url
        self.writable = writable
        self.part_size = PART_SIZE
        self._bucket = bucket
        self._client = _client(bucket)

    def read(self, path: str, limit: int = 64 << 20) -> bytes | None:
        """A document; None where there is none."""
        try:
            with self._asking(path):
                body = self._client.get_object(**self._key(path))["Body"]
                return bytes(body.read(limit))
        except _NotThere:
            return None

    def fetch(self, path: str, target: Path) -> None:
        """Bring a file here."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._asking(path):
            self._client.download_file(self._bucket.name, self._key(path)["Key"], str(target))

    def holds(self, entry: Entry) -> bool | None:
        """Whether these very bytes are there, by size and by the sha256 in the metadata."""
        try:
            with self._asking(entry.path):
                head = self._client.head_object(**self._key(entry.path))
        except _NotThere:
            return None
        known = head.get("Metadata", {}).get("sha256")
        return bool(head["ContentLength"] == entry.size and known == entry.sha256)

    def put(self, entry: Entry) -> None:
        """Upload, in parts where it is large."""
        about = {
            **self._key(entry.path),
            "Metadata": {"sha256": entry.sha256},
            "ContentType": _TYPES.get(Path(entry.path).suffix, "application/octet-stream"),
        }
        with self._asking(entry.path):
            if entry.source is not None and entry.size > self.part_size:
                self._put_parts(entry, about)
            else:
                self._client.put_object(**about, Body=b"".join(pieces_of(entry, self.part_size)))

    def _put_parts(self, entry: Entry, about: dict[str, Any]) -> None:
        key = {"Bucket": about["Bucket"], "Key": about["Key"]}
        upload = self._unfinished(key) or self._client.create_multipart_upload(**about)["UploadId"]
        there = self._parts(key, upload)
        parts = []
        for number, data in enumerate(pieces_of(entry, self.part_size), 1):
            tag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
            if there.get(number) != tag:
                sent = self._client.upload_part(**key, UploadId=upload, PartNumber=number, Body=data)
                tag = sent["ETag"]
            parts.append({"PartNumber": number, "ETag": tag})
        self._client.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": parts})
        if not self.holds(entry):
            # The upload was begun for other bytes, whose digest it carried: a path names what a package is made from,
            # and two builds of it may differ.
            self._client.copy_object(**about, CopySource=key, MetadataDirective="REPLACE")

    def _unfinished(self, key: dict[str, str]) -> str:
        """An upload to this path that was cut off."""
        answer = self._client.list_multipart_uploads(Bucket=key["Bucket"], Prefix=key["Key"])
        found = [each["UploadId"] for each in answer.get("Uploads", []) if each["Key"] == key["Key"]]
        return str(found[-1]) if found else ""

    def _parts(self, key: dict[str, str], upload: str) -> dict[int, str]:
        pages = self._client.get_paginator("list_parts").paginate(**key, UploadId=upload)
        return {part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", [])}

    def listing(self, prefix: str) -> Iterator[Stored]:
        """Every object whose path begins with `prefix`."""
        before = self._key("")["Key"]
        with self._asking(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket.name, Prefix=before + prefix
            )
            for page in pages:
                for each in page.get("Contents", []):
                    yield Stored(each["Key"].removeprefix(before), each["Size"], each["LastModified"].timestamp())

    def remove(self, path: str) -> None:
        """Delete an object."""
        with self._asking(path):
            self._client.delete_object(**self._key(path))

    def _key(self, path: str) -> dict[str, str]:
        prefix = self._bucket.prefix.strip("/")
        return {"Bucket": self._bucket.name, "Key": f"{prefix}/{path}" if prefix else path}

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        """Boto's errors as ours."""
        import boto3.exceptions
        import botocore.exceptions

        where = f"s3://{self._bucket.name}/{self._key(path)['Key']}"
        try:
            yield
        except botocore.exceptions.ClientError as error:
            if str(error.response.get("Error", {}).get("Code")) in _ABSENT:
                raise _NotThere.one(where, "is not there") from error
            raise failed(where, error, "are bucket and credentials right?") from error
        except (botocore.exceptions.BotoCoreError, boto3.exceptions.Boto3Error, OSError) as error:
            raise failed(where, error, "run it again: what was sent is kept") from error


class _NotThere(PandaError):
    """No object of that key."""


def _client(bucket: Bucket) -> Any:
    try:
        import boto3
        import botocore.config
    except ImportError as error:
        raise PandaError.one("storage of kind s3", "needs boto3, which is not installed", _INSTALL) from error
    given = {
        "endpoint_url": bucket.endpoint_url,
        "region_name": bucket.region,
        "aws_access_key_id": bucket.access_key_id,
        "aws_secret_access_key": bucket.secret_access_key,
    }
    config = botocore.config.Config(
        retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=20, read_timeout=60
    )
    return boto3.client("s3", config=config, **{name: value for name, value in given.items() if value})
