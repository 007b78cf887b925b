#!/bin/sh
# Makes the whole root of an image that runs Node: the program, the libraries it is linked with, a user and the order of name look-up.
# Usage: rootfs.sh NODE FOLDER
set -eu
node=$1
root=$2

mkdir -p "$root/usr/local/bin" "$root/etc"
install -d -m 1777 "$root/tmp"
install -m 755 "$node" "$root/usr/local/bin/node"
ldd "$node" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
printf 'root:x:0:0::/:/sbin/nologin\nweft:x:1337:1337::/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nweft:x:1337:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
