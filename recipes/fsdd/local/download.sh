#!/usr/bin/env bash
# Fetches the Free Spoken Digit Dataset (CC BY-SA 4.0, some 40 MB) by git, into TARGET/free-spoken-digit-dataset.
# A copy that is there already stays.
set -euo pipefail

# options
target=downloads                                                      # [path] folder that gets the dataset
url=https://github.com/Jakobovski/free-spoken-digit-dataset.git       # where it is fetched from
# end of options
. utils/parse_options.sh

folder=$target/free-spoken-digit-dataset
if [ -d "$folder" ]; then
  echo "$folder is there already"
  exit 0
fi
if ! command -v git >/dev/null 2>&1; then
  echo "download.sh: error: git is not installed; fetch $url yourself and pass the folder as --corpus DIR" >&2
  exit 1
fi
mkdir -p "$target"
rm -rf "$target/.tmp-fsdd"
if ! git clone --quiet --depth 1 "$url" "$target/.tmp-fsdd"; then
  rm -rf "$target/.tmp-fsdd"
  echo "download.sh: error: $url cannot be fetched; get the dataset elsewhere and pass its folder as --corpus DIR" >&2
  exit 1
fi
mv "$target/.tmp-fsdd" "$folder"
echo "wrote $folder"
