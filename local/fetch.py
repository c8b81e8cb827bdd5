#!/usr/bin/env python3
"""Download one file: a broken download goes on where it stopped, and the size is checked before the file gets its name."""

import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
from argparse import ArgumentTypeError

import option_types
from cli import parser, progress, run

from comflp.errors import ComflpError, shown

CHUNK = 1 << 20
TIMEOUT = 60


def fetch(url, size, out):
    """Download ``url``, ``size`` bytes, to ``out``; what has come so far is in ``out``.part. Raises ComflpError."""
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    done = part.stat().st_size if part.exists() else 0
    if done > size:
        part.unlink()
        done = 0
    if shutil.disk_usage(out.parent).free < size - done:
        raise ComflpError(f"{out.parent} has no room for the {size - done:,} bytes of {url} that are still to come")
    try:
        if done < size:
            done = _receive(url, done, size, part)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ComflpError(f"{url} cannot be fetched ({error}); run the same command again to go on where it stopped") from error
    if done < size:
        raise ComflpError(f"{url} broke off after {done:,} of {size:,} bytes; run the same command again to go on")
    if done > size:
        part.unlink()
        raise ComflpError(f"{url} is longer than the {size:,} bytes that it should have: it is another file")
    os.replace(part, out)


def _receive(url, done, size, part):
    """Append to ``part`` what comes after its first ``done`` bytes; returns the bytes that it then has."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server sends all of it again
            done = 0
        with open(part, "ab" if done else "wb") as file, \
                progress(total=size, initial=done, unit="B", unit_scale=True, desc=part.stem) as bar:
            while done <= size and (chunk := response.read(CHUNK)):
                file.write(chunk)
                done += len(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    return done


def url(text):
    """An address that can be downloaded from."""
    if re.fullmatch(r"(https?|ftp|file)://\S+", text) is None or not text.isprintable():
        raise ArgumentTypeError(f"{shown(text)} is no address such as https://www.openslr.org/resources/12/dev-clean.tar.gz")
    return text


def main():
    options = parser(__doc__)
    options.add_argument("--url", type=url, required=True, help="what to download")
    options.add_argument("--bytes", type=option_types.whole(1, 10**12), required=True, help="its size")
    options.add_argument("--out", type=option_types.new_path, required=True, help="file to write")
    args = options.parse_args()
    if args.out.exists() and args.out.stat().st_size == args.bytes and not args.force:
        print(f"{args.out} is there already")
        return
    if args.out.exists() and not (args.force and args.out.is_file()):
        raise ComflpError(f"{args.out} is there and is not this download of {args.bytes:,} bytes; "
                          f"{'add --force to replace it' if args.out.is_file() else 'name another file'}")
    fetch(args.url, args.bytes, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run(main)
