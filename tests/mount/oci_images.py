"""OCI images, built byte by byte: odd ones and wrong ones too."""
import copy
import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
OPAQUE = ".wh..wh..opq"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layer:
    """The tar of one layer; every method adds a member and returns the layer."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, kind: bytes, data: bytes = b"", xattrs: dict[str, str] | None = None, **attributes) -> "Layer":
        member = tarfile.TarInfo(name)
        member.type, member.size, member.mtime, member.mode = kind, len(data), 1_600_000_000, 0o755 if kind == tarfile.DIRTYPE else 0o644
        for key, value in attributes.items():
            setattr(member, key, value)
        member.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in (xattrs or {}).items()}
        self.tar.addfile(member, io.BytesIO(data))
        return self

    def file(self, name: str, data: bytes = b"", **attributes) -> "Layer":
        return self.add(name, tarfile.REGTYPE, data, **attributes)

    def folder(self, name: str, **attributes) -> "Layer":
        return self.add(name, tarfile.DIRTYPE, **attributes)

    def link(self, name: str, target: str, **attributes) -> "Layer":
        return self.add(name, tarfile.LNKTYPE, linkname=target, **attributes)

    def symlink(self, name: str, target: str, **attributes) -> "Layer":
        return self.add(name, tarfile.SYMTYPE, linkname=target, mode=0o777, **attributes)

    def bytes(self) -> bytes:
        self.tar.close()
        return self.buffer.getvalue()


def compressed(tar: bytes, how: str) -> tuple[str, bytes]:
    """Media type and blob."""
    if how == "gzip":
        return LAYER + "+gzip", gzip.compress(tar, mtime=0)
    if how == "zstd":
        return LAYER + "+zstd", subprocess.run(["zstd", "-q", "-c"], input=tar, stdout=subprocess.PIPE, check=True).stdout
    return LAYER, tar


class Image:
    """One image. `manifest` and `config` may be changed before it is written; `blobs` go by digest."""

    def __init__(self, *tars: bytes, how: str = "gzip", architecture: str = ARCHITECTURE):
        self.tars = tars
        self.blobs: dict[str, bytes] = {}
        layers = []
        for tar in tars:
            media, blob = compressed(tar, how)
            layers.append({"mediaType": media, "digest": self.put(blob), "size": len(blob)})
        self.config = {"architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
                       "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]}}
        self.manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": None, "layers": layers}

    def put(self, blob: bytes) -> str:
        self.blobs[digest(blob)] = blob
        return digest(blob)

    def descriptor(self, **more) -> dict:
        """Of the manifest, after it and the configuration were put among the blobs."""
        manifest = copy.deepcopy(self.manifest)
        if manifest.get("config") is None:
            config = json.dumps(self.config).encode()
            manifest["config"] = {"mediaType": CONFIG, "digest": self.put(config), "size": len(config)}
        text = json.dumps(manifest).encode()
        return {"mediaType": MANIFEST, "digest": self.put(text), "size": len(text), **more}


def named(image: Image, ref: str) -> dict:
    return image.descriptor(annotations={"org.opencontainers.image.ref.name": ref})


def write_layout(folder: Path, entries: list[dict], *blobs: dict[str, bytes]) -> Path:
    """A layout whose index has these entries."""
    (folder / "blobs/sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
    for some in blobs:
        for name, data in some.items():
            (folder / "blobs" / name.replace(":", "/")).write_bytes(data)
    return folder


def layout_of(folder: Path, image: Image, ref: str = "one") -> Path:
    entry = named(image, ref)
    return write_layout(folder, [entry], image.blobs)


def archive_of(layout: Path, target: Path) -> Path:
    """Blobs first, as skopeo writes them."""
    with tarfile.open(target, "w") as tar:
        for path in sorted(layout.rglob("*")):
            tar.add(path, path.relative_to(layout), recursive=False)
    return target


def docker_archive(target: Path, image: Image, tag: str = "app:1") -> Path:
    """As `docker save` wrote it before it wrote layouts; a layer that comes twice is a symlink the second time."""
    config = json.dumps(image.config).encode()
    name = hashlib.sha256(config).hexdigest()
    paths = [f"{index:064x}/layer.tar" for index in range(len(image.tars))]
    layer = Layer()
    seen: dict[bytes, str] = {}
    for path, tar in zip(paths, image.tars, strict=True):
        if tar in seen:
            layer.symlink(path, "../" + seen[tar])
        else:
            layer.file(path, tar)
        seen.setdefault(tar, path)
    layer.file(f"{name}.json", config)
    layer.file("manifest.json", json.dumps([{"Config": f"{name}.json", "RepoTags": [tag], "Layers": paths}]).encode())
    target.write_bytes(layer.bytes())
    return target
