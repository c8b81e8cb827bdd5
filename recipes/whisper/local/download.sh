#!/usr/bin/env bash
# Fetches telephone prompts, read by one person a language, with their texts, into TARGET/prompts_<language>: the Asterisk
# project's core sounds (CC BY-SA 3.0), from Debian's packages of them. A copy that is there already stays.
set -euo pipefail

# options
target=downloads          # [path] folder that gets the prompts
language=it               # it, es or en
mirror=http://deb.debian.org/debian/pool/main/a/asterisk-core-sounds # a mirror of Debian, or of snapshot.debian.org
# end of options
. utils/parse_options.sh
. ./path.sh

version=1.6.1-1
case $language in # bytes of the recordings and of the texts
  it) sizes="18262124 23972" ;;
  es) sizes="23767256 22012" ;;
  en) sizes="18272864 22844" ;;
  *)
    echo "download.sh: error: there are prompts in it, es and en only, not in $language; pass your own data as --corpus DIR" >&2
    exit 1
    ;;
esac
folder=$target/prompts_$language
if [ -d "$folder" ]; then
  echo "$folder is there already"
  exit 0
fi
if ! command -v dpkg-deb >/dev/null 2>&1; then
  echo "download.sh: error: dpkg-deb is not installed; unpack $mirror/asterisk-core-sounds-$language{,-wav}_${version}_all.deb" \
    "elsewhere and pass the folder of the recordings, with the texts beside them as a file text, as --corpus DIR" >&2
  exit 1
fi
work=$target/.tmp-prompts-$language
rm -rf "$work"
mkdir -p "$work"
for package in "asterisk-core-sounds-$language-wav" "asterisk-core-sounds-$language"; do
  python steps/fetch.py --url "$mirror/${package}_${version}_all.deb" --bytes "${sizes%% *}" --out "$target/$package.deb"
  sizes=${sizes#* }
  dpkg-deb -x "$target/$package.deb" "$work/unpacked"
done
mv "$(find "$work/unpacked/usr/share/asterisk/sounds" -mindepth 1 -maxdepth 1 -type d)" "$work/prompts"
gzip -dc "$work/unpacked/usr/share/doc/asterisk-core-sounds-$language/core-sounds-$language.txt.gz" >"$work/prompts/text"
mv "$work/prompts" "$folder"
rm -rf "$work"
echo "wrote $folder"
