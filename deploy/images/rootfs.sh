#!/bin/sh
# Makes the whole root of an image that runs Node: the program, the libraries it is linked with, a user and the order of name look-up.
# Usage: rootfs.sh NODE FOLDER [PROGRAM…]: further programs, with what they are linked with
set -eu
node=$1
root=$2
shift 2

mkdir -p "$root/usr/local/bin" "$root/etc"
install -d -m 1777 "$root/tmp"
install -m 755 "$node" "$root/usr/local/bin/node"
for program in "$@"; do
  install -m 755 "$program" "$root/usr/local/bin/"
done
for program in "$node" "$@"; do
  ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
done
printf 'root:x:0:0::/:/sbin/nologin\nweft:x:1337:1337::/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nweft:x:1337:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
