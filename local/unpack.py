#!/usr/bin/env python3
"""Unpack a corpus' archives, nothing outside the target folder, each folder whole or not at all.

    unpack.py --archive data_aishell.tgz --member data_aishell --target downloads     one archive, one folder in it
    unpack.py --nested downloads/data_aishell/wav                                      AISHELL-1's archive a speaker
"""

import shutil
import tarfile
import zlib
from argparse import ArgumentTypeError
from pathlib import PurePosixPath

import option_types
from cli import parser, progress, run
from corpus import find_files

from comflp.artifacts import replace_directory
from comflp.errors import ComflpError
from comflp.replacing import TEMPORARY_PREFIX, Kind

CORPUS = Kind("unpacked archive")


def extract(archive, target):
    """Write the folders and regular files of a tar archive under ``target``.

    Raises ComflpError for a damaged archive, and for a member that is a link or a device, or that would lie outside
    ``target``.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in progress(tar, desc=archive.name, unit="file"):
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise ComflpError(f"{archive}: {member.name!r} is a link, a device or outside the target; not unpacked")
                if member.isdir():
                    (target / path).mkdir(parents=True, exist_ok=True)
                    continue
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, open(target / path, "xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise ComflpError(f"{archive} cannot be unpacked: {error}") from error


def unpack(archive, pattern, target, force=False):
    """Unpack ``archive`` and give the one folder in it that matches ``pattern`` its place under ``target``.

    A folder that is there is replaced if an archive was unpacked to it before and nothing was added.
    """
    temporary = target / f"{TEMPORARY_PREFIX}{archive.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        extract(archive, temporary)
        folders = [path for path in temporary.glob(pattern) if path.is_dir()]
        if len(folders) != 1:
            raise ComflpError(f"{archive} does not hold one folder {pattern}")
        final = target / folders[0].relative_to(temporary)
        final.parent.mkdir(parents=True, exist_ok=True)
        replace_directory(folders[0], final, CORPUS, force)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack_nested(folder, force=False):
    """Unpack every <name>.tar.gz of ``folder``, which holds <set>/<name>/, to ``folder``/<set>/<name>; returns how many."""
    archives = [archive for archive in find_files(folder, "*.tar.gz")
                if force or not any(folder.glob(f"*/{archive.name[:-len('.tar.gz')]}"))]
    for archive in progress(archives, desc="speakers", total=len(archives)):
        unpack(archive, f"*/{archive.name[:-len('.tar.gz')]}", folder, force)
    return len(archives)


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--archive", type=option_types.file, help="tar archive")
    options.add_argument("--member", type=member, help="folder in the archive that is wanted")
    options.add_argument("--target", type=option_types.new_path, help="folder that gets it")
    options.add_argument("--nested", type=option_types.folder, help="folder whose archives are unpacked in place")
    args = options.parse_args()
    if args.nested is not None:
        print(f"{args.nested}: {unpack_nested(args.nested, args.force)} archives unpacked")
        return
    if None in (args.archive, args.member, args.target):
        raise ComflpError("give --archive, --member and --target, or --nested")
    if (args.target / args.member).is_dir() and not args.force:
        print(f"{args.target / args.member} is there already")
        return
    unpack(args.archive, args.member, args.target, args.force)
    print(f"wrote {args.target / args.member}")


def member(text):
    """A relative path without "..", of names."""
    for part in text.split("/"):
        option_types.name(part)
        if not part:
            raise ArgumentTypeError(f"{text!r} is not a folder in an archive, such as LibriSpeech/dev-clean")
    return text


if __name__ == "__main__":
    run(main)
