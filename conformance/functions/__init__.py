"""Functions the tests upload, and the zips made of them.

Sources lie beside this file, one per function; a zip holds the source as its module and nothing else. Timestamps inside
are fixed, so the same source gives the same bytes and the same CodeSha256.
"""

import io
import zipfile
from pathlib import Path

HERE = Path(__file__).parent


def archive(files: dict[str, bytes | str]) -> bytes:
    """A zip with these files, deterministic. Mode 0755 for programs and scripts, 0644 for the rest."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            start = content[:4].encode() if isinstance(content, str) else content[:4]
            mode = 0o100755 if start.startswith(b"#!") or start == b"\x7fELF" else 0o100644
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, content)
    return buffer.getvalue()


def zipped(source: str) -> bytes:
    """The zip of one source file of this folder; Node's becomes `index.js`, Python's `app.py`."""
    path = HERE / source
    name = "index.js" if path.suffix == ".js" else "app.py"
    return archive({name: path.read_bytes()})


def handler(source: str) -> str:
    """The handler string that goes with [`zipped`]."""
    return "index.handler" if source.endswith(".js") else "app.handler"


def runtime(source: str) -> str:
    """A current runtime identifier for the source's language."""
    return "nodejs20.x" if source.endswith(".js") else "python3.11"
