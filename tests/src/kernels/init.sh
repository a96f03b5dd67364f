#!/bin/busybox sh
# First process of a guest: makes the shell's programs, mounts what `mounts` lists, runs `script`, and ends the guest.
/bin/busybox --install -s /bin
export PATH=/bin
while read -r kind place options; do
    mkdir -p "$place"
    mount -t "$kind" -o "${options:-rw}" "$kind" "$place"
done < /mounts
# What the firmware wrote last has no end of line.
echo
# The console is for what leaves the guest from now on.
dmesg -n 1

# keep NAME FILE: lets a file leave the guest.
keep() {
    [ -f "$2" ] || return 0
    echo "@@ file $1"
    base64 < "$2"
    echo "@@ end $(wc -c < "$2")"
}

# run NAME COMMAND..: runs a command; what it printed and its status leave the guest.
run() {
    name=$1
    shift
    "$@" > "/tmp/$name.out" 2> "/tmp/$name.err"
    echo $? > "/tmp/$name.status"
    for part in out err status; do keep "$name.$part" "/tmp/$name.$part"; done
}

cd /work
. /script
echo "@@ done"
poweroff -f
